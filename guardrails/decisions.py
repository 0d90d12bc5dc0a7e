"""May this message go to this person now? Every rule is asked; the gravest objection decides.

Gravity: final refusals (Block), then switches (Hold), then postponements (Defer), each in the order of the rules
below. Details carry counts, instants, ids and names of switches, never a phone, a name or a text.
"""

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.outcomes import SendOutcome
from guardrails import hours
from guardrails.choices import Kind, PermissionState, ReasonCode, SuppressionReason
from guardrails.policy import REPLYING, Policy, holding_switches

MOTIVO_MIN_LENGTH = 10
Details = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReplyProof:
    """The stored inbound that a reply answers; `inbound_at` is the instant at which we received it."""

    inbound_id: int | str
    conversation_id: int | str
    inbound_at: datetime

    @classmethod
    def of(
        cls, inbound_id: int | str | None, conversation_id: int | str | None, inbound_at: datetime | None
    ) -> "ReplyProof | None":
        """None unless all three parts are there (R-1)."""
        if not inbound_id or not conversation_id or inbound_at is None:
            return None
        return cls(inbound_id, conversation_id, inbound_at)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules need to know of one send, read fresh. The defaults describe a stranger outside production.

    `human_control`: a person holds the conversation, or it is paused for Julia. `by_holder`: that person wrote this.
    `contact_cap_frees_at`: when the rolling count next falls below the cap; None when unknown.
    `daily_count`: proactive messages of the current local day in `zone`.
    `allowlisted`: None when OUTBOUND_ALLOWLIST is empty.
    `to_simulator`: the destination proved to be our simulator or the null provider.
    `confirmation_sent`: a confirmation of this opt-out already left or is on the wire.
    """

    kind: Kind
    telefone: str | None = field(default=None, repr=False)
    telefone_valido: bool = True
    zone: ZoneInfo = hours.SAO_PAULO
    campaign_id: int | None = None
    proof: ReplyProof | None = None
    state_readable: bool = True
    permission_state: PermissionState = PermissionState.NONE
    opted_out: bool = False
    opted_out_at: datetime | None = None
    suppression: SuppressionReason | None = None
    confirmation_sent: bool = False
    cooling_off_until: datetime | None = None
    next_allowed_at: datetime | None = None
    contact_count_7d: int = 0
    contact_cap_frees_at: datetime | None = None
    daily_count: int = 0
    last_touch_campaign_id: int | None = None
    last_touch_at: datetime | None = None
    human_control: bool = False
    by_holder: bool = False
    inbound_pendente: bool = False
    production: bool = False
    to_simulator: bool = False
    allowlisted: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Kind(self.kind))  # a plain string would match no switch

    @property
    def is_out(self) -> bool:
        """Any trace of an opt-out or a suppression counts."""
        return self.opted_out or self.permission_state == PermissionState.OPTED_OUT or self.suppression is not None


@dataclass(frozen=True, slots=True)
class Allow:
    """`bypassed`: the rules that an authenticated person overrode; the send is then recorded as BYPASS."""

    reason: ReasonCode = ReasonCode.OK
    bypassed: tuple[ReasonCode, ...] = ()
    objections: "tuple[Objection, ...]" = field(default=(), compare=False)

    @property
    def outcome(self) -> SendOutcome:
        """What the message is recorded as once the provider accepts it."""
        return SendOutcome.BYPASS if self.bypassed else SendOutcome.SENT


@dataclass(frozen=True, slots=True)
class Defer:
    """Back to the fila until `until` (UTC, later than now), without penalty."""

    outcome: SendOutcome
    reason: ReasonCode
    until: datetime
    details: Details = field(default_factory=dict, compare=False)
    objections: "tuple[Objection, ...]" = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Hold:
    """Stays in the fila, unclaimed or returned without penalty, until somebody or something lifts it."""

    outcome: SendOutcome
    reason: ReasonCode
    details: Details = field(default_factory=dict, compare=False)
    objections: "tuple[Objection, ...]" = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Block:
    """Final: the row ends."""

    outcome: SendOutcome
    reason: ReasonCode
    details: Details = field(default_factory=dict, compare=False)
    objections: "tuple[Objection, ...]" = field(default=(), compare=False)


Objection = Defer | Hold | Block
Decision = Allow | Defer | Hold | Block
GRAVITY: tuple[type[Objection], ...] = (Block, Hold, Defer)


class Nature(enum.Enum):
    """Which rules a send meets: all of them, those of a proved reply, or those of a message about no contact."""

    PROACTIVE = enum.auto()
    REPLY = enum.auto()
    EXEMPT = enum.auto()


@dataclass(frozen=True, slots=True)
class Case:
    """One question to the rules."""

    facts: Facts
    policy: Policy
    now: datetime
    nature: Nature


Rule = Callable[[Case], Iterator[Objection]]


def decide(facts: Facts, policy: Policy, *, now: datetime) -> Decision:
    """`now` is timezone-aware (ValueError otherwise). Raises hours.NeverOpens when the hours never open.

    A postponement lasts until no known temporary objection is left, whichever rule decides.
    """
    objections = explain(facts, policy, now=now)
    if not objections:
        return Allow(_reason_to_allow(facts, nature_of(facts, policy, now=now)))
    gravest = replace(objections[0], objections=tuple(objections))
    if isinstance(gravest, Defer):
        return replace(gravest, until=max(each.until for each in objections if isinstance(each, Defer)))
    return gravest


def explain(facts: Facts, policy: Policy, *, now: datetime) -> list[Objection]:
    """Every objection, the gravest first; empty when the message may go."""
    if now.tzinfo is None:
        raise ValueError("a decision needs an instant with a time zone")
    case = Case(facts, policy, now, nature_of(facts, policy, now=now))
    objections = [objection for rule in RULES[case.nature] for objection in rule(case)]
    return sorted(objections, key=lambda objection: GRAVITY.index(type(objection)))


def nature_of(facts: Facts, policy: Policy, *, now: datetime) -> Nature:
    """A reply without valid proof is proactive; so is a test that would reach a person."""
    if facts.kind == Kind.CONFIRMACAO_OPT_OUT:
        return Nature.PROACTIVE if facts.confirmation_sent else Nature.EXEMPT
    if facts.kind == Kind.TESTE:
        return Nature.EXEMPT if facts.to_simulator else Nature.PROACTIVE
    if facts.kind in REPLYING and proof_holds(facts.proof, policy, now=now):
        return Nature.REPLY
    return Nature.PROACTIVE


def proof_holds(proof: ReplyProof | None, policy: Policy, *, now: datetime) -> bool:
    """At most 30 min old. The same distance ahead of `now` is accepted too: a clock may have been set back."""
    return proof is not None and abs(now - proof.inbound_at) <= policy.reply_proof_age


def apply_bypass(decision: Decision, motivos: Mapping[ReasonCode, str]) -> Decision:
    """The decision after an authenticated person overrode rules, one motivo of at least 10 characters for each.

    Whoever calls has checked who that person is and that the send is theirs. Unless the motivos cover every
    objection, and every objection can be overridden at all, the decision stands.
    """
    if isinstance(decision, Allow):
        return decision
    reasons = tuple(dict.fromkeys(objection.reason for objection in decision.objections))
    if not all(reason.is_bypassable for reason in reasons):
        return decision
    missing = missing_motivos(decision, motivos)
    if not missing:
        return Allow(bypassed=reasons, objections=decision.objections)
    if ReasonCode.OPTED_OUT in missing:
        return replace(decision, reason=ReasonCode.OPTED_OUT_BYPASS_NO_REASON)
    return decision


def missing_motivos(decision: Decision, motivos: Mapping[ReasonCode, str]) -> tuple[ReasonCode, ...]:
    """The objections that still need a motivo, the gravest first."""
    reasons = dict.fromkeys(objection.reason for objection in decision.objections)
    return tuple(reason for reason in reasons if len(motivos.get(reason, "").strip()) < MOTIVO_MIN_LENGTH)


def as_record(decision: Decision) -> dict[str, Any]:
    """The decision with all its objections as JSON values, for the message's timeline and the audit entry."""
    record = _entry(decision)
    record["objections"] = [_entry(objection) for objection in decision.objections]
    if isinstance(decision, Allow):
        record["bypassed"] = [reason.value for reason in decision.bypassed]
    return record


def _entry(verdict: Decision) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "verdict": type(verdict).__name__.lower(),
        "outcome": verdict.outcome.value,
        "reason": verdict.reason.value,
    }
    if not isinstance(verdict, Allow):
        entry["details"] = dict(verdict.details)
    if isinstance(verdict, Defer):
        entry["until"] = verdict.until.isoformat()
    return entry


def _reason_to_allow(facts: Facts, nature: Nature) -> ReasonCode:
    if nature is Nature.REPLY:
        return ReasonCode.REPLY_TO_OPTED_OUT if facts.is_out else ReasonCode.REPLY_VALID
    return ReasonCode.NON_PROACTIVE if nature is Nature.EXEMPT else ReasonCode.OK


def dev_allowlist(case: Case) -> Iterator[Objection]:
    """Outside production nothing leaves except to the simulator or to OUTBOUND_ALLOWLIST (R-2)."""
    facts = case.facts
    if facts.production or facts.to_simulator or facts.allowlisted:
        return
    empty = facts.allowlisted is None
    reason = ReasonCode.DEV_ALLOWLIST_EMPTY if empty else ReasonCode.DEV_ALLOWLIST
    yield Block(SendOutcome.BLOCKED_DEV_ALLOWLIST, reason)


def opt_out(case: Case) -> Iterator[Objection]:
    """Ends the row even under a kill switch (R0). Who wrote again after leaving may be answered, nothing else."""
    facts = case.facts
    if not facts.is_out:
        return
    answers_later_inbound = facts.proof and facts.opted_out_at and facts.proof.inbound_at > facts.opted_out_at
    if case.nature is Nature.REPLY and answers_later_inbound:
        return
    reason = SUPPRESSION_REASONS.get(facts.suppression, ReasonCode.OPTED_OUT)
    yield Block(SendOutcome.BLOCKED_OPTED_OUT, reason, {"since": _iso(facts.opted_out_at)})


def telefone(case: Case) -> Iterator[Objection]:
    """Who wrote to us a moment ago has WhatsApp, whatever the last check of the number said."""
    if not case.facts.telefone:
        yield Block(SendOutcome.FAILED_VALIDATION, ReasonCode.TELEFONE_NAO_ENCONTRADO)
    elif not case.facts.telefone_valido and case.nature is Nature.PROACTIVE:
        yield Block(SendOutcome.FAILED_VALIDATION, ReasonCode.INVALID_NUMBER)


def handoff(case: Case) -> Iterator[Objection]:
    """While a person holds the conversation Julia is silent; only that person goes on writing."""
    facts = case.facts
    is_persons_reply = case.nature is Nature.REPLY and facts.kind in (Kind.MANUAL, Kind.AVISO_HANDOFF)
    if facts.human_control and not facts.by_holder and not is_persons_reply:
        yield Block(SendOutcome.BLOCKED_HANDOFF, ReasonCode.HANDOFF_ATIVO)


def contact_cap(case: Case) -> Iterator[Objection]:
    """Rolling 7 days of proactive messages (S-36 T06.1)."""
    cap, count = case.policy.contact_cap_7d, case.facts.contact_count_7d
    if cap is not None and count >= cap:
        details = {"cap": cap, "count": count}
        until = case.facts.contact_cap_frees_at
        yield _until(case, SendOutcome.BLOCKED_CONTACT_CAP, ReasonCode.CONTACT_CAP, until, details)


def cooling_off(case: Case) -> Iterator[Objection]:
    """A pause without an end lasts until a person ends it (R1)."""
    until = case.facts.cooling_off_until
    if case.facts.permission_state == PermissionState.COOLING_OFF and (until is None or until > case.now):
        yield _until(case, SendOutcome.BLOCKED_COOLING_OFF, ReasonCode.COOLING_OFF, until, {})


def next_allowed(case: Case) -> Iterator[Objection]:
    until = case.facts.next_allowed_at
    if until is not None and until > case.now:
        yield _until(case, SendOutcome.BLOCKED_NEXT_ALLOWED, ReasonCode.NEXT_ALLOWED_AT, until, {})


def campaign_cooldown(case: Case) -> Iterator[Objection]:
    """A different campaign less than 72 elapsed hours ago; for campaigns only (R5)."""
    facts = case.facts
    touched_by_another = facts.last_touch_campaign_id not in (None, facts.campaign_id)
    if facts.kind != Kind.CAMPANHA or not touched_by_another or facts.last_touch_at is None:
        return
    until = facts.last_touch_at + case.policy.campaign_cooldown
    if until > case.now:
        details = {"last_touch_campaign_id": facts.last_touch_campaign_id}
        yield _until(case, SendOutcome.BLOCKED_CAMPAIGN_COOLDOWN, ReasonCode.CAMPAIGN_COOLDOWN, until, details)


def state_unavailable(case: Case) -> Iterator[Objection]:
    if not case.facts.state_readable:
        until = case.now.astimezone(UTC) + case.policy.state_retry
        yield Defer(SendOutcome.FAILED_RATE_LIMIT, ReasonCode.STATE_UNAVAILABLE, until)


def daily_limit(case: Case) -> Iterator[Objection]:
    """Counts messages, not weights, and postpones campaigns too (S-36 T04.1)."""
    limit, count = case.policy.daily_person_limit, case.facts.daily_count
    if count >= limit:
        details = {"limit": limit, "count": count}
        yield Defer(SendOutcome.FAILED_RATE_LIMIT, ReasonCode.DAILY_LIMIT, _next_day(case), details)


def quiet_hours(case: Case) -> Iterator[Objection]:
    """The recipient's clock decides (R0.5)."""
    window, holidays, zone = case.policy.window, case.policy.holidays, case.facts.zone
    if not hours.is_open(window, holidays, case.now, zone):
        until = hours.next_opening(window, holidays, case.now, zone)
        yield Defer(SendOutcome.BLOCKED_QUIET_HOURS, ReasonCode.QUIET_HOURS, until, {"zone": zone.key})


def switches(case: Case) -> Iterator[Objection]:
    """Bind replies too, as far as each switch names them (R4)."""
    proactive = case.nature is Nature.PROACTIVE
    for name, reason in holding_switches(case.policy.switches, case.facts.kind, proactive=proactive):
        of_campaigns = name in ("campaigns_enabled", "envio_campanha")
        outcome = SendOutcome.BLOCKED_CAMPAIGNS_DISABLED if of_campaigns else SendOutcome.BLOCKED_SAFE_MODE
        yield Hold(outcome, reason, {"switch": name})


def inbound_pendente(case: Case) -> Iterator[Objection]:
    """What the person just wrote may be an opt-out: nothing proactive overtakes it."""
    if case.facts.inbound_pendente:
        yield Hold(SendOutcome.BLOCKED_NEXT_ALLOWED, ReasonCode.INBOUND_PENDENTE)


SUPPRESSION_REASONS: dict[SuppressionReason | None, ReasonCode] = {
    SuppressionReason.NUMERO_ERRADO: ReasonCode.WRONG_NUMBER,
    SuppressionReason.FALECIMENTO: ReasonCode.DECEASED,
}

RULES: dict[Nature, tuple[Rule, ...]] = {
    Nature.PROACTIVE: (
        dev_allowlist,
        opt_out,
        telefone,
        handoff,
        contact_cap,
        cooling_off,
        next_allowed,
        campaign_cooldown,
        switches,
        inbound_pendente,
        daily_limit,
        quiet_hours,
        state_unavailable,
    ),
    Nature.REPLY: (dev_allowlist, opt_out, telefone, handoff, switches),
    Nature.EXEMPT: (dev_allowlist, telefone, switches),
}


def _until(
    case: Case, outcome: SendOutcome, reason: ReasonCode, until: datetime | None, details: dict[str, Any]
) -> Objection:
    """Ends a campaign's row; postpones every other kind to `until`, or to another day when that is not known."""
    if case.facts.kind == Kind.CAMPANHA:
        return Block(outcome, reason, details | {"until": _iso(until)})
    is_ahead = until is not None and until > case.now
    return Defer(outcome, reason, until.astimezone(UTC) if until and is_ahead else _next_day(case), details)


def _next_day(case: Case) -> datetime:
    return hours.next_day_opening(case.policy.window, case.policy.holidays, case.now, case.facts.zone)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
