"""`POST /alertas/{id}/reconhecer`: somebody takes an alert, from a page or from a script."""

from uuid import UUID

from django.db import Error
from drf_spectacular.utils import OpenApiExample, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.alerts import services
from core.api import OPERATION_AUTHENTICATION, SERVICES
from core.logging import get_logger
from core.rights import Right, has_right

log = get_logger("alertas")

_TAKEN = inline_serializer(
    "AlertaReconhecido",
    {"status": serializers.CharField(), "id": serializers.UUIDField(), "reconhecido_por": serializers.CharField()},
)
_REFUSED = inline_serializer("AlertaRecusado", {"status": serializers.CharField(), "message": serializers.CharField()})


class MayAcknowledge(BasePermission):
    """Any service, or a person with the right to take alerts."""

    message = "Falta o direito de assumir alertas."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.auth in SERVICES or has_right(request.user, Right.ALERTA_RECONHECER)


class AcknowledgeView(APIView):
    """Who takes it is who called: a person's login, or the name of the service. No body is needed."""

    authentication_classes = OPERATION_AUTHENTICATION
    permission_classes = (MayAcknowledge,)

    @extend_schema(
        summary="Assumir um alerta",
        tags=["alertas"],
        request=None,
        responses={200: _TAKEN, 401: _REFUSED, 403: _REFUSED, 404: _REFUSED, 409: _REFUSED, 503: _REFUSED},
        examples=[
            OpenApiExample(
                "assumido",
                {"status": "ok", "id": "3f0c2a6e-0000-4000-8000-000000000000", "reconhecido_por": "ana"},
                status_codes=["200"],
            )
        ],
    )
    def post(self, request: Request, alerta_id: UUID) -> Response:
        actor = request.user.get_username()
        try:
            services.acknowledge(alerta_id, actor=actor, ip=request.META.get("REMOTE_ADDR") or None)
        except services.AlertUnknown as error:
            return _refused(404, str(error))
        except services.AlertRefused as error:
            return _refused(409, str(error))
        except Error as error:
            log.warning("alerta não assumido: banco indisponível", erro=type(error).__name__)
            return _refused(503, "O banco de dados não respondeu; ninguém assumiu o alerta. Tente de novo.")
        return Response({"status": "ok", "id": str(alerta_id), "reconhecido_por": actor})


def _refused(status: int, message: str) -> Response:
    headers = {"Retry-After": "5"} if status == 503 else None
    return Response({"status": "error", "message": message}, status=status, headers=headers)
