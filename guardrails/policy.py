"""What the operation allows right now, as values: switches, hours, limits. Read elsewhere, handed in whole."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date, timedelta

from guardrails.choices import Kind, ReasonCode, SwitchState
from guardrails.hours import BUSINESS_HOURS, Window

CONTACT_CAP_7D_DEFAULT = 5


@dataclass(frozen=True, slots=True)
class Switches:
    """The switches that can hold a send. The defaults are those of a normal day."""

    ambiente_travado: SwitchState = SwitchState.OFF  # the database is not the one this environment knows
    operacao_pausada: SwitchState = SwitchState.OFF
    worker_fila: SwitchState = SwitchState.ON
    campaigns_enabled: SwitchState = SwitchState.ON
    safe_mode: SwitchState = SwitchState.OFF
    envio_campanha: SwitchState = SwitchState.ON
    envio_prospeccao: SwitchState = SwitchState.ON
    envio_followup: SwitchState = SwitchState.ON
    envio_resposta: SwitchState = SwitchState.ON

    @classmethod
    def unreadable(cls) -> "Switches":
        """For a reader that could not read any of them."""
        return cls(**{field.name: SwitchState.UNREADABLE for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class SwitchRule:
    """What one switch holds, and in which position."""

    name: str
    holds_when: SwitchState
    reason: ReasonCode
    kinds: frozenset[Kind]
    only_proactive: bool = False


EVERY_KIND = frozenset(Kind)
PROSPECTING = frozenset({Kind.CAMPANHA, Kind.DISCOVERY, Kind.OFERTA})
FOLLOWING_UP = frozenset({Kind.FOLLOWUP, Kind.REATIVACAO, Kind.FEEDBACK, Kind.LEMBRETE})
REPLYING = frozenset({Kind.RESPOSTA, Kind.MANUAL, Kind.AVISO_HANDOFF, Kind.CONFIRMACAO_OPT_OUT})

# In order of gravity. Emergency mode turns three envio_* off and leaves envio_resposta; safe mode is for proactive
# sends (R4b), so both let the doctors who wrote be answered.
SWITCH_RULES = (
    SwitchRule("ambiente_travado", SwitchState.ON, ReasonCode.ENVIRONMENT_LOCKED, EVERY_KIND),
    SwitchRule("operacao_pausada", SwitchState.ON, ReasonCode.OPERATION_PAUSED, EVERY_KIND),
    SwitchRule("worker_fila", SwitchState.OFF, ReasonCode.WORKER_DISABLED, EVERY_KIND),
    SwitchRule("campaigns_enabled", SwitchState.OFF, ReasonCode.CAMPAIGNS_DISABLED, frozenset({Kind.CAMPANHA})),
    SwitchRule("safe_mode", SwitchState.ON, ReasonCode.SAFE_MODE, EVERY_KIND, only_proactive=True),
    SwitchRule("envio_campanha", SwitchState.OFF, ReasonCode.KIND_DISABLED, frozenset({Kind.CAMPANHA})),
    SwitchRule("envio_prospeccao", SwitchState.OFF, ReasonCode.KIND_DISABLED, PROSPECTING),
    SwitchRule("envio_followup", SwitchState.OFF, ReasonCode.KIND_DISABLED, FOLLOWING_UP),
    SwitchRule("envio_resposta", SwitchState.OFF, ReasonCode.KIND_DISABLED, REPLYING),
)


def holding_switches(switches: Switches, kind: Kind, *, proactive: bool) -> Iterator[tuple[str, ReasonCode]]:
    """Name and reason of every switch that holds such a send, the gravest first."""
    for rule in SWITCH_RULES:
        if kind not in rule.kinds or (rule.only_proactive and not proactive):
            continue
        state = getattr(switches, rule.name)
        if state == rule.holds_when:
            yield rule.name, rule.reason
        elif state not in (SwitchState.ON, SwitchState.OFF):
            yield rule.name, ReasonCode.SWITCH_UNREADABLE


def held_kinds(switches: Switches) -> frozenset[Kind]:
    """Kinds whose rows the claim leaves alone. Kinds that may carry a proof of reply are taken to carry one."""
    return frozenset(
        kind for kind in Kind if any(holding_switches(switches, kind, proactive=kind not in REPLYING | {Kind.TESTE}))
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """`contact_cap_7d` None means that the rule is off."""

    switches: Switches = Switches()
    window: Window = BUSINESS_HOURS
    holidays: frozenset[date] = frozenset()
    contact_cap_7d: int | None = CONTACT_CAP_7D_DEFAULT
    daily_person_limit: int = 3  # messages per local day (S-36 T04.1)
    campaign_weight: int = 2  # in the global and chip budgets (S-36 T04.2), never in the two limits above
    campaign_cooldown: timedelta = timedelta(hours=72)
    reply_proof_age: timedelta = timedelta(minutes=30)
    state_retry: timedelta = timedelta(seconds=300)

    def weight_of(self, kind: Kind) -> int:
        return self.campaign_weight if kind == Kind.CAMPANHA else 1


def contact_cap_of(flag: object) -> int | None:
    """The cap that flag `contact_cap_7d` asks for, e.g. `{"enabled": true, "limite": 5}` (S-36 T06.1).

    An absent or unreadable flag means the default; only an explicit `enabled: false` turns the rule off.
    """
    if not isinstance(flag, dict):
        return CONTACT_CAP_7D_DEFAULT
    if flag.get("enabled") is False:
        return None
    limit = flag.get("limite")
    is_count = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1
    return limit if is_count else CONTACT_CAP_7D_DEFAULT
