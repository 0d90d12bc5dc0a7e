"""The shared words for what became of a message: guardrails block, chips fail, fila records."""

from django.db import models


class SendOutcome(models.TextChoices):
    """Outcome of one decision or attempt (domain reference, send_outcome enum; S-36 T01.2 for FAILED_EXPIRED)."""

    SENT = "SENT", "Enviada"
    BYPASS = "BYPASS", "Enviada com liberação humana"
    BLOCKED_DEV_ALLOWLIST = "BLOCKED_DEV_ALLOWLIST", "Bloqueada: número fora da lista de teste"
    BLOCKED_OPTED_OUT = "BLOCKED_OPTED_OUT", "Bloqueada: pediu para sair"
    BLOCKED_COOLING_OFF = "BLOCKED_COOLING_OFF", "Bloqueada: em pausa por atrito"
    BLOCKED_NEXT_ALLOWED = "BLOCKED_NEXT_ALLOWED", "Bloqueada: próximo contato ainda não permitido"
    BLOCKED_CONTACT_CAP = "BLOCKED_CONTACT_CAP", "Bloqueada: limite de contatos em 7 dias"
    BLOCKED_CAMPAIGNS_DISABLED = "BLOCKED_CAMPAIGNS_DISABLED", "Retida: campanhas desligadas"
    BLOCKED_SAFE_MODE = "BLOCKED_SAFE_MODE", "Retida: modo seguro"
    BLOCKED_CAMPAIGN_COOLDOWN = "BLOCKED_CAMPAIGN_COOLDOWN", "Bloqueada: outra campanha há menos de 3 dias"
    BLOCKED_QUIET_HOURS = "BLOCKED_QUIET_HOURS", "Adiada: fora do horário de contato"
    BLOCKED_HANDOFF = "BLOCKED_HANDOFF", "Bloqueada: conversa com uma pessoa"
    DEDUPED = "DEDUPED", "Bloqueada: mensagem repetida"
    FAILED_PROVIDER = "FAILED_PROVIDER", "Falha do provedor"
    FAILED_VALIDATION = "FAILED_VALIDATION", "Falha: número inválido ou fora do WhatsApp"
    FAILED_BANNED = "FAILED_BANNED", "Falha: bloqueio ou restrição"
    FAILED_RATE_LIMIT = "FAILED_RATE_LIMIT", "Adiada: limite de envio"
    FAILED_CIRCUIT_OPEN = "FAILED_CIRCUIT_OPEN", "Adiada: circuito aberto"
    FAILED_NO_CAPACITY = "FAILED_NO_CAPACITY", "Adiada: nenhum chip disponível"
    FAILED_EXPIRED = "FAILED_EXPIRED", "Cancelada: passou da validade"
    FAILED_TIMEOUT = "FAILED_TIMEOUT", "Falha: tempo esgotado"
    FAILED_UNKNOWN = "FAILED_UNKNOWN", "Falha: resultado desconhecido"

    @property
    def is_success(self) -> bool:
        return self in (SendOutcome.SENT, SendOutcome.BYPASS)

    @property
    def is_blocked(self) -> bool:
        return self.value.startswith("BLOCKED_")

    @property
    def is_failed(self) -> bool:
        return self.value.startswith("FAILED_")
