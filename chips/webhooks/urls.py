"""Paths without a trailing slash, as the runbooks write them; a secret may travel as last segment after `s/`."""

from django.urls import path

from chips.webhooks import views

urlpatterns = [
    path("webhook/evolution", views.evolution),
    path("webhook/evolution/s/<str:secret>", views.evolution),
    path("webhooks/evolution", views.evolution),
    path("webhooks/evolution/", views.evolution),
    path("webhooks/evolution/s/<str:secret>", views.evolution),
    path("webhooks/evolution/<str:instance>", views.evolution),
    path("webhooks/evolution/<str:instance>/s/<str:secret>", views.evolution),
    path("webhooks/zapi", views.zapi),
    path("webhooks/zapi/s/<str:secret>", views.zapi),
    path("webhook/whatsapp", views.whatsapp),
]
