from django.urls import path

from core.health import views

urlpatterns = [path("health", views.health), path("health/ready", views.ready)]
