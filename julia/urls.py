"""Every address of the api role. Paths that the runbooks call have no trailing slash."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAdminUser

schema = SpectacularAPIView.as_view(authentication_classes=[SessionAuthentication], permission_classes=[IsAdminUser])

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", include("core.health.urls")),
    path("", include("julia.health.urls")),
    path("", include("core.jobs.urls")),
    path("", include("core.alerts.urls")),
    path("", include("chips.webhooks.urls")),
    path("api/schema", schema, name="api-schema"),
]
