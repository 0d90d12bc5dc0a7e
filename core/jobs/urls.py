"""One URL per registered job, so that the API's documentation lists them, and one for every other path."""

from django.urls import URLPattern, path

from core.jobs import registry
from core.jobs.api import AnyPathView, RunJobView

urlpatterns: list[URLPattern] = [
    *(path(f"jobs/{job.path}", RunJobView.as_view(job_path=job.path)) for job in registry.registered()),
    path("jobs", AnyPathView.as_view()),
    path("jobs/", AnyPathView.as_view()),
    path("jobs/<path:path>", AnyPathView.as_view()),
]
