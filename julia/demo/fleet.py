"""Five chips of the simulator in different states, and their places in it."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from chips.models import Chip
from chips.simulator.client import SimulatorClient

_PRODUCING: Mapping[str, Any] = MappingProxyType(
    {
        "status": "active",
        "evolution_connected": True,
        "connection_state": "open",
        "fase_warmup": "operacao",
        "pode_prospectar": True,
        "pode_followup": True,
        "pode_responder": True,
        "limite_hora": 5_000,
        "limite_dia": 50_000,
        "delay_minimo_segundos": 2,
    }
)
_WARMING: Mapping[str, Any] = MappingProxyType(
    {
        "status": "warming",
        "evolution_connected": True,
        "connection_state": "open",
        "fase_warmup": "primeiros_contatos",
        "warming_day": 6,
    }
)
_PAUSED: Mapping[str, Any] = MappingProxyType(
    {"status": "paused", "evolution_connected": False, "connection_state": "close"}
)


@dataclass(frozen=True, slots=True)
class DemoChip:
    """`zapi_instance_id` is empty for Evolution. The numbers cannot exist: 9 0000 is nobody's."""

    instance_name: str
    telefone: str
    state: Mapping[str, Any]
    trust: tuple[int, str]
    zapi_instance_id: str = ""

    @property
    def name_in_simulator(self) -> str:
        return self.zapi_instance_id or self.instance_name


FLEET = (
    DemoChip("julia-01", "5511900009001", _PRODUCING, (88, "verde")),
    DemoChip("julia-02", "5521900009002", _PRODUCING, (84, "verde")),
    DemoChip("julia-03-zapi", "5531900009003", _PRODUCING, (82, "verde"), zapi_instance_id="3DEMO00000000000000000003"),
    DemoChip("julia-04-aquecendo", "5541900009004", _WARMING, (48, "laranja")),
    DemoChip("julia-05-desconectado", "5551900009005", _PAUSED, (61, "amarelo")),
)


def ensure(now: datetime) -> None:
    """Create those that are missing."""
    known = set(_ours().values_list("instance_name", flat=True))
    Chip.objects.bulk_create([_new(chip, now) for chip in FLEET if chip.instance_name not in known])


def register(simulator: SimulatorClient, *, api_url: str) -> None:
    """Every chip as an instance of the simulator, connected as its row says, its webhooks pointing to our api.

    All credentials are new: the simulator has forgotten the old ones, and those of a clone that was moved cannot be
    read any more.
    """
    for chip in FLEET:
        Chip.objects.filter(instance_name=chip.instance_name).update(**_credentials(chip))
    for row in _ours():
        simulator.register(row.zapi_instance_id or row.instance_name, phone=row.telefone, **_place(row, api_url))


def missing_in(simulator: SimulatorClient) -> bool:
    """True after the simulator began anew."""
    return not {chip.name_in_simulator for chip in FLEET} <= set(simulator.chips())


def _ours() -> Any:
    return Chip.objects.filter(instance_name__in=[chip.instance_name for chip in FLEET])


def _credentials(chip: DemoChip) -> dict[str, str]:
    found = {"webhook_secret": secrets.token_urlsafe(24)}
    if chip.zapi_instance_id:
        found |= {"zapi_token": secrets.token_hex(12), "zapi_client_token": secrets.token_hex(12)}
    return found


def _new(chip: DemoChip, now: datetime) -> Chip:
    started = {"warming_started_at": now - timedelta(days=6)} if chip.state is _WARMING else {}
    gone = {"disconnected_since": now - timedelta(hours=5)} if chip.state is _PAUSED else {}
    return Chip(
        instance_name=chip.instance_name,
        telefone=chip.telefone,
        provider="z-api" if chip.zapi_instance_id else "evolution",
        zapi_instance_id=chip.zapi_instance_id,
        trust_score=chip.trust[0],
        trust_level=chip.trust[1],
        connection_checked_at=now,
        **chip.state,
        **_credentials(chip),
        **started,
        **gone,
    )


def _place(row: Chip, api_url: str) -> dict[str, Any]:
    state = "open" if row.evolution_connected else "close"
    if row.zapi_instance_id:
        return {
            "provider": "z-api",
            "token": row.zapi_token,
            "client_token": row.zapi_client_token,
            "state": state,
            "webhook_url": f"{api_url}/webhooks/zapi/s/{row.webhook_secret}",
        }
    return {
        "state": state,
        "webhook_url": f"{api_url}/webhooks/evolution/{row.instance_name}",
        "webhook_headers": {"X-Instance-Secret": row.webhook_secret},
    }
