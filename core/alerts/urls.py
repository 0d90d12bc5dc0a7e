from django.urls import URLPattern, path

from core.alerts.api import AcknowledgeView

urlpatterns: list[URLPattern] = [
    path("alertas/<uuid:alerta_id>/reconhecer", AcknowledgeView.as_view(), name="alerta-reconhecer"),
]
