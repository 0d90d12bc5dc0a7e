from django.urls import path

from core.health import views
from core.health.pages import page

urlpatterns = [path("health", page(views.HEALTH)), path("health/ready", page(views.READY))]
