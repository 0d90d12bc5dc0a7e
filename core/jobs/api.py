"""`POST /jobs/<path>`: one job, now, recorded like any other run."""

from threading import BoundedSemaphore
from typing import Any, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import Error, transaction
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core import clock
from core.api import OPERATION_AUTHENTICATION, MayRunJobs
from core.audit import services as audit
from core.jobs import registry, runner
from core.logging import get_logger

AT_ONCE = 2  # per api process: the other threads stay free for health and webhooks

_places = BoundedSemaphore(AT_ONCE)
log = get_logger("core.jobs")


class JobSchema(AutoSchema):
    """Documentation of one job, from its registration."""

    def _job(self) -> registry.Job:
        return registry.find_path(cast(RunJobView, self.view).job_path)

    def get_description(self) -> str:  # type: ignore[override]  # drf-spectacular's own signature
        job = self._job()
        return f"{job.description}\n\nAgenda: `{job.cron.text}` (Brasília)."

    def get_override_parameters(self) -> list[Any]:
        return [OpenApiParameter(each.name, each.type, default=each.default) for each in self._job().params.values()]

    def get_request_serializer(self) -> None:
        return None

    def get_response_serializers(self) -> Any:
        return dict.fromkeys((200, 400, 401, 403, 429, 500, 503), OpenApiTypes.OBJECT)

    def get_tags(self) -> list[str]:
        return ["jobs"]


class RunJobView(APIView):
    """Parameters come in the query string; no body is needed. `job_path` is set where a URL names one job."""

    authentication_classes = OPERATION_AUTHENTICATION
    permission_classes = (MayRunJobs,)
    schema = JobSchema()
    job_path = ""

    def post(self, request: Request, path: str = "") -> Response:
        try:
            job = registry.find_path(path or self.job_path)
            params = job.read_params(request.query_params.dict())
        except registry.UnknownJob as error:
            return _refused(404, str(error))
        except registry.InvalidParam as error:
            return _refused(400, str(error))
        if not _places.acquire(blocking=False):
            return _refused(429, f"Já há {AT_ONCE} jobs em execução neste processo. Tente de novo em alguns segundos.")
        try:
            if isinstance(request.user, AbstractBaseUser):  # a service's runs are many, and their rows say `api`
                with transaction.atomic():
                    told = {"params": request.query_params.dict(), "origem": "api"}
                    audit.record("job_executado", "jobs", job.name, usuario=request.user, detalhes=told)
            log.info("job pedido pela API", job=job.name, usuario=request.user.get_username())
            result = runner.run(job.name, now=clock.database_now(), origem="api", params=params)
        except Error as error:
            log.warning("job sem banco de dados", job=job.name, error_class=type(error).__name__)
            return _refused(503, "O banco de dados não respondeu; o job não foi executado. Tente de novo.")
        finally:
            _places.release()
        return Response(result.body, status=200 if result.ok else 500)


@extend_schema(exclude=True)
class AnyPathView(RunJobView):
    """Answers in JSON for whatever path no job has."""


def _refused(status: int, message: str) -> Response:
    headers = {"Retry-After": "5"} if status in (429, 503) else None
    return Response({"status": "error", "message": message}, status=status, headers=headers)
