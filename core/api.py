"""Who may call the API: a service with a token, a person with a login, or a developer on their own machine."""

import hmac
import ipaddress
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from core.rights import Right, has_right

BY_TOKEN, LOCALLY = SERVICES = ("token", "local")  # what `request.auth` says of a service
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_FROM_ELSEWHERE = (  # a proxy adds the first ones, a web page the last two
    "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-IP", "Via",
    "CF-Connecting-IP", "True-Client-IP", "Origin", "Sec-Fetch-Site",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Service:
    """Who called, where no person did: what a view finds in `request.user`. `name` goes to logs and audit."""

    name: str
    is_authenticated: bool = True
    is_active: bool = True
    is_staff: bool = False
    pk: None = None

    def get_username(self) -> str:
        return self.name

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Its token opens the views that accept it; rights are for people."""
        return False


def bearer_of(request: HttpRequest | Request) -> str:
    """The token of `Authorization: Bearer …`, or an empty string."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def same_secret(offered: str, secret: str) -> bool:
    """Compared in constant time. An empty secret is no secret: it equals nothing."""
    return hmac.compare_digest(offered.encode(), secret.encode()) and bool(secret)


def is_local_developer(request: HttpRequest | Request) -> bool:
    """A bare call on a developer's own machine, so that the manual's `curl` lines work as printed.

    APP_ENV is dev, peer and Host are loopback, and neither a proxy nor a web page stands between.
    """
    if settings.APP_ENV != "dev" or any(name in request.headers for name in _FROM_ELSEWHERE):
        return False
    host, _, port = request.META.get("HTTP_HOST", "").rpartition(":")
    if not host or not port.isdigit():
        host = request.META.get("HTTP_HOST", "")
    return host.strip("[]").lower() in _LOOPBACK_HOSTS and _is_loopback(request.META.get("REMOTE_ADDR", ""))


def _is_loopback(address: str) -> bool:
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = peer.ipv4_mapped if isinstance(peer, ipaddress.IPv6Address) else None
    return (mapped or peer).is_loopback


class ServiceAuthentication(BaseAuthentication):
    """`Authorization: Bearer <JOBS_TOKEN>` or `X-Jobs-Token: <JOBS_TOKEN>`; in development also a bare local call."""

    def authenticate(self, request: Request) -> tuple[Service, str] | None:
        offered = request.headers.get("X-Jobs-Token", "") or bearer_of(request)
        if offered:
            if not same_secret(offered, settings.JOBS_TOKEN):
                raise AuthenticationFailed("Token recusado. Confira JOBS_TOKEN.")
            return Service("JOBS_TOKEN"), BY_TOKEN
        has_login = settings.SESSION_COOKIE_NAME in request.COOKIES
        return (Service("desenvolvimento local"), LOCALLY) if not has_login and is_local_developer(request) else None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class ServiceScheme(OpenApiAuthenticationExtension):
    """How the documentation names the token; drf-spectacular finds it by its base class."""

    target_class = ServiceAuthentication
    name = "JOBS_TOKEN"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


OPERATION_AUTHENTICATION: list[type[BaseAuthentication]] = [ServiceAuthentication, SessionAuthentication]


class MayRunJobs(BasePermission):
    """Any service, or a person with the right to run jobs."""

    message = "Falta o direito de executar jobs."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.auth in SERVICES or has_right(request.user, Right.JOB_EXECUTAR)
