"""Connection events: connection is a fact beside the lifecycle, and only two codes touch the latter."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from chips.choices import ChipStatus, ConexaoEstado, ProviderName
from chips.models import Chip
from chips.webhooks.outcomes import Done, Ignore, Outcome, Received
from core.audit import services as audit

LOGGED_OUT, FORBIDDEN = 401, 403
_WORKING = (ChipStatus.WARMING, ChipStatus.READY, ChipStatus.ACTIVE, ChipStatus.DEGRADED)
_OVER = (ChipStatus.BANNED, ChipStatus.CANCELLED)
# Z-API fires its whole queue when the phone comes back: a chip that dropped carries nothing until the reconciler has
# emptied it of our messages and takes this mark away (fila/reconciliacao/fila_zapi.py).
UNTIL_PURGED = timedelta(days=3650)


def handle(received: Received) -> Outcome:
    parsed, event = received.parsed, received.event
    changed = apply(received.chip.pk, parsed.connection_state, status_reason=parsed.status_reason, at=event.recebido_em)
    return Done() if changed else Ignore("mais antigo que o estado conhecido")


def apply(chip_id: UUID, state: str, *, status_reason: int | None, at: datetime) -> bool:
    """Write what was known at `at` (our receipt time). False when something newer is known; a ban counts anyway.

    Close 401: the session is gone and the chip is `paused` until a person reconnects it. Close 403: `banned`. Any other
    state or code changes connection fields only; Z-API's chips stay ineligible until their queue was purged. Locks the
    chip; repeating it changes nothing.
    """
    with transaction.atomic():
        chip = Chip.objects.select_for_update().defer(*SECRETS).get(pk=chip_id)
        stale = chip.connection_checked_at is not None and at < chip.connection_checked_at
        banned = state == "close" and status_reason == FORBIDDEN and chip.status not in _OVER
        logged_out = state == "close" and status_reason == LOGGED_OUT and chip.status in _WORKING
        fields: list[str] = []
        if not stale:
            fields += _connection(chip, state, at)
        if banned:
            fields += _ban(chip, at)
        elif logged_out and not stale:
            fields += _pause(chip, at)
        if fields:
            chip.save(update_fields=fields)
        return bool(fields)


SECRETS = ("api_key", "zapi_token", "zapi_client_token", "webhook_secret")


def _connection(chip: Chip, state: str, at: datetime) -> list[str]:
    chip.evolution_connected = state == "open"
    chip.connection_state = state[:16]
    chip.connection_checked_at = at
    chip.disconnected_since = None if chip.evolution_connected else (chip.disconnected_since or at)
    fields = ["evolution_connected", "connection_state", "connection_checked_at", "disconnected_since"]
    if chip.evolution_connected:
        fields += _back(chip, at)
    if chip.provider == ProviderName.ZAPI and not chip.evolution_connected:
        chip.connection_cooldown_until = at + UNTIL_PURGED
        fields.append("connection_cooldown_until")
    return fields


def _back(chip: Chip, at: datetime) -> list[str]:
    """What the monitor had told is over; a chip that is mute for it stays so until an echo proves otherwise."""
    chip.conexao_falhas, chip.sessao_encerrada_em = 0, None
    if chip.conexao_estado != ConexaoEstado.DESCONECTADO:
        return ["conexao_falhas", "sessao_encerrada_em"]
    chip.conexao_estado, chip.conexao_desde = ConexaoEstado.CONECTADO, at
    return ["conexao_falhas", "sessao_encerrada_em", "conexao_estado", "conexao_desde"]


def _ban(chip: Chip, at: datetime) -> list[str]:
    _record("chip_banido", chip, ChipStatus.BANNED, "O WhatsApp fechou a conexão com código 403: número banido.")
    chip.status, chip.banned_at, chip.ban_reason = ChipStatus.BANNED, at, "conexão fechada com código 403"
    return ["status", "banned_at", "ban_reason"]


def _pause(chip: Chip, at: datetime) -> list[str]:
    _record("chip_pausado", chip, ChipStatus.PAUSED, "O WhatsApp encerrou a sessão (401): reconecte o chip pelo QR.")
    chip.status, chip.sessao_encerrada_em = ChipStatus.PAUSED, at
    return ["status", "sessao_encerrada_em"]


def _record(acao: str, chip: Chip, status: ChipStatus, motivo: str) -> None:
    detalhes = {"antes": chip.status, "depois": status.value}
    audit.record(acao, "chip", chip.pk, usuario="sistema", motivo=motivo, detalhes=detalhes)
