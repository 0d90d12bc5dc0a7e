"""What every Evolution route shares: the error envelope, the order of the guards, reading the body."""

import json
from typing import Any

from aiohttp import web

from chips.simulator.answers import json_response
from chips.simulator.faults import Fault, Kind
from chips.simulator.state import Instance, Provider, State, World

ERROR_NAMES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
}
#: Where the wrapper leaves the fault of a call.
FAULT = web.RequestKey("FAULT", Fault)
DATABASE_DOWN = "\nInvalid `prisma.instance.findUnique()` invocation:\n\nCan't reach database server at `postgres:5432`"


class EvolutionError(Exception):
    """An answer in the server's error envelope. `message` is polymorphic on purpose."""

    def __init__(self, status: int, message: Any, *, error: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error = error or ERROR_NAMES.get(status, "Internal Server Error")

    def response(self) -> web.Response:
        body = {"status": self.status, "error": self.error, "response": {"message": self.message}}
        return json_response(body, self.status)


class RawError(Exception):
    """An answer outside the common envelope."""

    def __init__(self, payload: Any, status: int) -> None:
        super().__init__(status)
        self.payload = payload
        self.status = status

    def response(self) -> web.Response:
        return json_response(self.payload, self.status)


def schema_error(*messages: str) -> EvolutionError:
    return EvolutionError(400, [list(messages)])


def boom(status: int, error: str, message: str) -> RawError:
    """The envelope that `whatsappNumbers` leaks from the socket library."""
    output = {"statusCode": status, "payload": {"error": error, "message": message}}
    return RawError({"isBoom": True, "output": output}, 400)


def not_found_route(request: web.Request) -> web.Response:
    return EvolutionError(404, [f"Cannot {request.method} {request.path}"]).response()


def parse(raw: bytes) -> dict[str, Any]:
    """The JSON object of a request; anything unreadable is answered by the body parser, before every guard."""
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise EvolutionError(400, f"Unexpected token in JSON: {error}", error="Internal Server Error") from error
    return body if isinstance(body, dict) else {}


def guard(world: World, request: web.Request) -> Instance:
    """The instance exists, then the key fits: an unknown instance is 404 even without a key."""
    name = request.match_info["name"]
    instance = world.instances.get(name)
    if instance is None or instance.provider is not Provider.EVOLUTION:
        raise EvolutionError(404, [f'The "{name}" instance does not exist'])
    key = request.headers.get("apikey", "")
    if key not in (world.options.apikey, instance.token) or not key:
        raise EvolutionError(401, "Unauthorized")
    return instance


def guard_global(world: World, request: web.Request) -> None:
    if request.headers.get("apikey", "") != world.options.apikey:
        raise EvolutionError(401, "Unauthorized")


def database_gone(world: World, request: web.Request) -> EvolutionError:
    """With its database down the server takes an instance token for a wrong key."""
    if request.headers.get("apikey", "") == world.options.apikey:
        return EvolutionError(500, DATABASE_DOWN)
    return EvolutionError(401, "Unauthorized")


def dead_socket(instance: Instance, fault: Fault | None) -> str | None:
    """How the socket is dead: `nunca` (never connected), `socket` (closed), or None while it works.

    A `desconectado` fault kills the socket while the state goes on saying `open`.
    """
    if fault is not None and fault.kind is Kind.DESCONECTADO:
        return str(fault.parameters.get("variant", "socket"))
    if instance.state is State.OPEN:
        return None
    return "nunca" if instance.never_connected or instance.state is State.ABSENT else "socket"


def fault_of(request: web.Request) -> Fault | None:
    """The fault that hits this call, drawn once by the route's wrapper (calls other than sends)."""
    return request.get(FAULT)
