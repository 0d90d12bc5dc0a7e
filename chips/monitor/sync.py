"""Evolution's own list of instances against our chips (chips reference §4.7): what is missing on either side.

The list only finds; it never decides. Its state is stale during a reconnection (contracts §0.7), so wherever it differs
from what we believe, the instance itself is asked, and that answer is written. An empty list, an unreadable one or none
at all changes nothing: the server may have lost its database, our chips have not lost their session.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import httpx
from django.conf import settings

from chips.choices import ChipStatus, FaseWarmup, ProviderName, TrustLevel
from chips.monitor import services
from chips.monitor.asking import CALL_S
from chips.monitor.store import NOT_CHECKED
from chips.providers.base import ChipAddress, Code, ErrorKind, ProviderError, State
from chips.providers.evolution import EvolutionProvider
from chips.providers.evolution_contract import InstanceInfo
from chips.simulated import may_be_asked
from core.circuits.names import EVOLUTION
from core.circuits.services import Gate, snapshot
from core.clientes import phones
from core.database import rows
from core.integrations.http import new_client
from core.logging import get_logger

log = get_logger("chips.monitor")

MANY_PCT = 30
UNREGISTERED = "Encontrado no provedor, sem cadastro: confirme de quem é o número antes de desbloquear."
BY = "sincronizar_chips"
FIRST_TRUST = 50


@dataclass(frozen=True, slots=True)
class Ours:
    chip_id: UUID
    instance_name: str
    status: str
    connected: bool


class NotAsked(Exception):
    """There is no Evolution to ask, or its circuit is open; the text is for the operator."""


def synchronise(*, deadline_s: float) -> dict[str, int]:
    """One list, then a question to each instance that it contradicts. Raises NotAsked; ProviderError without a list.

    The keys are the domain's (jobs reference §1.4-6). `processados`: chips changed or created; `instancias_sem_numero`:
    unknown instances that cannot be registered, because they never had a number or another chip has it.
    """
    listed = {info.name: info for info in _instances(deadline_s)}
    ours = _ours()
    if not listed:
        return _counted(0, 0, 0, 0, ours)
    changed = _confirm(_doubtful(ours, listed), deadline_s)
    unknown = [info for name, info in listed.items() if name not in {chip.instance_name for chip in ours}]
    created = [info.name for info in unknown if _create(info)]
    after = _ours()
    result = _counted(len(listed), changed, len(created), len(unknown) - len(created), after)
    _warn(result, created)
    return result


def _instances(deadline_s: float) -> list[InstanceInfo]:
    if not settings.EVOLUTION_API_URL:
        raise NotAsked("EVOLUTION_API_URL não está definida: não há Evolution a perguntar")
    if snapshot().gate(EVOLUTION) is Gate.CLOSED:
        raise NotAsked("o circuito da Evolution está aberto")
    return asyncio.run(_fetch(min(deadline_s, CALL_S)))


async def _fetch(total_s: float) -> list[InstanceInfo]:
    address = ChipAddress(
        uuid4(), ProviderName.EVOLUTION, settings.EVOLUTION_API_URL, api_key=settings.EVOLUTION_API_KEY
    )
    async with new_client() as client:
        await _require_allowed(client, address.base_url)
        return await EvolutionProvider(client, total_s=total_s).fetch_instances(address)


async def _require_allowed(client: httpx.AsyncClient, base_url: str) -> None:
    allowed = await may_be_asked(client, base_url) if base_url else True
    if not allowed:
        detail = services.NOT_ALLOWED if allowed is False else "ninguém responde no endereço da Evolution"
        raise ProviderError(ErrorKind.REDE, Code.NETWORK_ERROR, detail)


def _ours() -> list[Ours]:
    found = rows(
        """SELECT id AS chip_id, instance_name, status, evolution_connected AS connected FROM chips
           WHERE provider = %s ORDER BY instance_name""",
        [ProviderName.EVOLUTION.value],
    )
    return [Ours(**row) for row in found]


def _doubtful(ours: Sequence[Ours], listed: Mapping[str, InstanceInfo]) -> list[UUID]:
    """Chips of which the list says something else than we believe; who is not listed at all is gone."""
    return [
        chip.chip_id
        for chip in ours
        if chip.status not in NOT_CHECKED and chip.connected != _is_open(listed.get(chip.instance_name))
    ]


def _is_open(info: InstanceInfo | None) -> bool:
    return info is not None and info.connection_status is State.OPEN


def _confirm(ids: Sequence[UUID], deadline_s: float) -> int:
    """Ask each of them itself; how many are not as we believed."""
    if not ids:
        return 0
    before = _flags(ids)
    services.check(ids, deadline_s=deadline_s, counts=False)
    after = _flags(ids)
    return sum(before[chip_id] != after.get(chip_id) for chip_id in before)


def _flags(ids: Collection[UUID]) -> dict[UUID, bool]:
    found = rows("SELECT id, evolution_connected AS connected FROM chips WHERE id = ANY(%s)", [list(ids)])
    return {row["id"]: row["connected"] for row in found}


# No webhook secret and blocked by hand: nothing is sent through it before a person has said whose it is.
_CREATE = """
INSERT INTO chips (telefone, instance_name, provider, status, fase_warmup, trust_score, trust_level,
    evolution_connected, connection_state, connection_checked_at, pode_prospectar, pode_followup, pode_responder,
    bloqueio_manual, bloqueio_motivo, bloqueado_por, bloqueado_em)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, agora(), false, false, false, true, %s, %s, agora())
ON CONFLICT DO NOTHING RETURNING id
"""


def _create(info: InstanceInfo) -> bool:
    """False when it never had a number, or its number or name belongs to a chip of ours already."""
    telefone = _number_of(info)
    if telefone is None:
        return False
    values = [
        telefone, info.name[:100], ProviderName.EVOLUTION.value, ChipStatus.PENDING.value, FaseWarmup.REPOUSO.value,
        FIRST_TRUST, TrustLevel.LARANJA.value, _is_open(info), info.connection_status.value, UNREGISTERED, BY,
    ]  # fmt: skip
    return bool(rows(_CREATE, values))


def _number_of(info: InstanceInfo) -> str | None:
    if info.owner_jid and (number := phones.canonical_from_jid(info.owner_jid)):
        return number
    try:
        return phones.parse(info.number).e164 if info.number else None
    except phones.InvalidPhone:
        return None


def _counted(listed: int, changed: int, created: int, nameless: int, ours: Sequence[Ours]) -> dict[str, int]:
    alive = [chip for chip in ours if chip.status not in NOT_CHECKED]
    connected = sum(chip.connected for chip in alive)
    return {
        "instancias_evolution": listed,
        "chips_atualizados": changed,
        "chips_criados": created,
        "chips_conectados": connected,
        "chips_desconectados": len(alive) - connected,
        "instancias_sem_numero": nameless,
        "erros": 0,
        "processados": changed + created,
    }


def _warn(result: Mapping[str, int], created: Sequence[str]) -> None:
    total = result["chips_conectados"] + result["chips_desconectados"]
    if total and result["chips_desconectados"] * 100 > MANY_PCT * total:
        log.warning("muitos chips desconectados", **result)
    if created:
        log.warning("instâncias sem cadastro no provedor: confirme em Chips", quantas=len(created))
