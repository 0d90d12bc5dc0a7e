"""Which chip can carry it: a pure function over facts, with every refusal named (chips reference §2)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from chips.choices import NULL_PROVIDER, PROACTIVE, ChipStatus, ChipTipo, TipoMensagem

NORMAL_TRUST: Mapping[str, int] = {
    TipoMensagem.PROSPECCAO: 80,
    TipoMensagem.FOLLOWUP: 60,
    TipoMensagem.RESPOSTA: 40,
    TipoMensagem.CANARIO: 0,
}
EMERGENCY_TRUST: Mapping[str, int] = {
    TipoMensagem.PROSPECCAO: 60,
    TipoMensagem.FOLLOWUP: 40,
    TipoMensagem.RESPOSTA: 20,
    TipoMensagem.CANARIO: 0,
}


class Refusal(StrEnum):
    """Why a chip does not carry a message now. The first group lasts, the second passes by itself in seconds."""

    STATUS = "status"
    TIPO = "tipo"
    BLOQUEIO_MANUAL = "bloqueio_manual"
    PERMISSAO = "permissao"
    TRUST = "trust"
    DESCONECTADO = "desconectado"
    SEM_SEGREDO = "sem_segredo"
    COOLDOWN = "cooldown"
    CIRCUITO = "circuito"
    FROTA_DOENTE = "frota_doente"
    LIMITE_HORA = "limite_hora"
    LIMITE_DIA = "limite_dia"
    EXCLUIDO = "excluido"
    EM_VOO = "em_voo"
    OCUPADO = "ocupado"
    RITMO = "ritmo"


MOMENTARY = frozenset({Refusal.EM_VOO, Refusal.OCUPADO, Refusal.RITMO})

SENTENCES: Mapping[Refusal, str] = {
    Refusal.STATUS: "não está em produção",
    Refusal.TIPO: "é de leitura e nunca envia",
    Refusal.BLOQUEIO_MANUAL: "foi bloqueado por uma pessoa",
    Refusal.PERMISSAO: "não tem permissão para este tipo de mensagem",
    Refusal.TRUST: "confiança abaixo do mínimo",
    Refusal.DESCONECTADO: "está desconectado do WhatsApp",
    Refusal.SEM_SEGREDO: "não tem segredo de webhook configurado",
    Refusal.COOLDOWN: "está em descanso depois de uma falha",
    Refusal.CIRCUITO: "está com o circuito aberto, dele ou do provedor",
    Refusal.FROTA_DOENTE: "espera porque quase toda a frota está fora: os que restam não levam a carga de todos",
    Refusal.LIMITE_HORA: "chegou ao limite da hora",
    Refusal.LIMITE_DIA: "chegou ao limite do dia",
    Refusal.EXCLUIDO: "já foi tentado para esta mensagem ou foi excluído da campanha",
    Refusal.EM_VOO: "está enviando outra mensagem",
    Refusal.OCUPADO: "está com outro processo neste instante",
    Refusal.RITMO: "aguarda o intervalo entre mensagens",
}


@dataclass(frozen=True, slots=True)
class ChipFacts:
    """One chip as it is at this instant. Weights: a campaign message counts 2 (S-36 T04.2). Instants are aware.

    `ocupado`: another process holds it, so that it is nobody's to choose here. `barreiras`: the circuits, its own or
    its provider's, that let nothing through. `sondas`: circuits that would let exactly one call through as a probe, and
    this chip's call would be it. `doente`: it fell ill within a day. `frota_doente`: too few healthy chips are left for
    what Julia begins. `rampa_desde`: the end of its last long rest. `em_voo_desde`: when its open call began.
    """

    id: UUID
    final: str
    provider: str
    status: str
    tipo: str
    trust_score: int
    conectado: bool
    tem_segredo: bool
    bloqueio_manual: bool
    pode_prospectar: bool
    pode_followup: bool
    pode_responder: bool
    cooldown_until: datetime | None
    connection_cooldown_until: datetime | None
    proximo_envio_em: datetime
    delay_minimo_segundos: int
    em_voo: bool
    peso_hora: int
    peso_dia: int
    limite_hora: int
    limite_dia: int
    ocupado: bool = False
    barreiras: tuple[str, ...] = ()
    sondas: tuple[str, ...] = ()
    frota_doente: bool = False
    rampa_desde: datetime | None = None
    doente: bool = False
    em_voo_desde: datetime | None = None

    def limits_at(self, now: datetime) -> tuple[int, int]:
        """Hour and day limits, reduced after a long rest: 25 % for 2 h, 50 % to 6 h, 75 % to 12 h (reference §4.5)."""
        share = ramp_share(self.rampa_desde, now)
        return -(-self.limite_hora * share // 100), -(-self.limite_dia * share // 100)


RAMP_AFTER = timedelta(minutes=30)
_RAMP = ((timedelta(hours=2), 25), (timedelta(hours=6), 50), (timedelta(hours=12), 75))


def ramp_share(since: datetime | None, now: datetime) -> int:
    """Per cent of its limits that a chip may use at `now`, its last rest of `RAMP_AFTER` or more having ended then."""
    if since is None:
        return 100
    return next((share for within, share in _RAMP if now - since < within), 100)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A message looking for a chip. `conversa_chip`: its conversation's chip; `afinidade`: the last to reach them.

    `excluidos` never carry it. `tentados` failed with it by their own fault: another chip comes first, and they come
    again only when there is no other in the fleet, after their rest.
    """

    id: UUID
    tipo: str
    peso: int
    conversa_chip: UUID | None = None
    afinidade: UUID | None = None
    excluidos: frozenset[UUID] = frozenset()
    tentados: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Choice:
    chip: UUID
    motivo: str


@dataclass(frozen=True, slots=True)
class Shortlist:
    """The chips that can carry one type now, in order of preference, and why the others cannot."""

    tipo: str
    eligible: tuple[ChipFacts, ...]
    refused: Mapping[UUID, tuple[Refusal, ...]] = field(default_factory=dict)
    emergency: bool = False

    @property
    def only_busy(self) -> bool:
        """Nobody is free this second, but somebody will be in a moment: not a lack of capacity."""
        return not self.eligible and any(set(reasons) <= MOMENTARY for reasons in self.refused.values())


def refusals(
    chip: ChipFacts, tipo: str, *, peso: int, now: datetime, trust_min: int, excluded: Collection[UUID] = ()
) -> tuple[Refusal, ...]:
    """Every reason why `chip` does not carry a message of `tipo` at `now`; empty means that it can.

    The canary's chip and the canary are for each other alone.
    """
    if tipo == TipoMensagem.CANARIO or chip.provider == NULL_PROVIDER:
        theirs = tipo == TipoMensagem.CANARIO and chip.provider == NULL_PROVIDER
        return (Refusal.EM_VOO,) if theirs and chip.em_voo else () if theirs else (Refusal.TIPO,)
    permitted = {
        TipoMensagem.PROSPECCAO: chip.pode_prospectar,
        TipoMensagem.FOLLOWUP: chip.pode_followup,
        TipoMensagem.RESPOSTA: chip.pode_responder,
    }
    proactive = tipo in PROACTIVE
    hour_limit, day_limit = chip.limits_at(now) if proactive else (chip.limite_hora, chip.limite_dia)
    cooling = any(until and until > now for until in (chip.cooldown_until, chip.connection_cooldown_until))
    found = [
        (Refusal.STATUS, chip.status != ChipStatus.ACTIVE),
        (Refusal.TIPO, chip.tipo != ChipTipo.JULIA),
        (Refusal.BLOQUEIO_MANUAL, chip.bloqueio_manual),
        (Refusal.PERMISSAO, not permitted[TipoMensagem(tipo)]),
        (Refusal.TRUST, chip.trust_score < trust_min),
        (Refusal.DESCONECTADO, not chip.conectado),
        (Refusal.SEM_SEGREDO, not chip.tem_segredo),
        (Refusal.COOLDOWN, cooling),
        (Refusal.CIRCUITO, bool(chip.barreiras)),
        (Refusal.FROTA_DOENTE, proactive and chip.frota_doente),
        (Refusal.LIMITE_HORA, proactive and chip.peso_hora + peso > hour_limit),
        (Refusal.LIMITE_DIA, chip.peso_dia + peso > day_limit),
        (Refusal.EXCLUIDO, chip.id in excluded),
        (Refusal.EM_VOO, chip.em_voo),
        (Refusal.RITMO, proactive and chip.proximo_envio_em > now),
    ]
    reasons = tuple(reason for reason, holds in found if holds)
    return (Refusal.OCUPADO,) if chip.ocupado and not reasons else reasons


def shortlist(fleet: Iterable[ChipFacts], tipo: str, *, peso: int, now: datetime) -> Shortlist:
    """Who can carry `tipo` now. Reduced trust counts only when no chip passes the lasting filters at normal trust.

    A chip that is merely busy or pacing is not a reason to lower the bar: it is free again in a moment.
    """
    fleet = list(fleet)
    normal = _pass(fleet, tipo, peso=peso, now=now, trust_min=NORMAL_TRUST[tipo], emergency=False)
    if normal.eligible or normal.only_busy:
        return normal
    emergency = _pass(fleet, tipo, peso=peso, now=now, trust_min=EMERGENCY_TRUST[tipo], emergency=True)
    return emergency if emergency.eligible or emergency.only_busy else normal


def _pass(
    fleet: Sequence[ChipFacts], tipo: str, *, peso: int, now: datetime, trust_min: int, emergency: bool
) -> Shortlist:
    reasons = {chip.id: refusals(chip, tipo, peso=peso, now=now, trust_min=trust_min) for chip in fleet}
    eligible = sorted((chip for chip in fleet if not reasons[chip.id]), key=_preference)
    return Shortlist(tipo, tuple(eligible), {chip: why for chip, why in reasons.items() if why}, emergency)


def _preference(chip: ChipFacts) -> tuple[int, int, UUID]:
    """Lowest use this hour, then highest trust."""
    return (chip.peso_hora, -chip.trust_score, chip.id)


def assign(wanted: Sequence[Wanted], shortlists: Mapping[str, Shortlist]) -> dict[UUID, Choice]:
    """A chip for each message, each chip at most once, in the order given. Who finds none is absent.

    A reply keeps its conversation's chip while that chip lives: it waits for one that is busy, rests or has an open
    circuit rather than change number. A circuit that wants a probe gets one message, through one of its chips.
    """
    taken: set[UUID] = set()
    probing: set[str] = set()
    choices: dict[UUID, Choice] = {}
    probes = {chip.id: chip.sondas for short in shortlists.values() for chip in short.eligible if chip.sondas}
    for message in wanted:
        spoken_for = {chip for chip, circuits in probes.items() if probing.intersection(circuits)}
        choice = _choose(message, shortlists[message.tipo], taken | spoken_for)
        if choice is not None:
            taken.add(choice.chip)
            probing.update(probes.get(choice.chip, ()))
            choices[message.id] = choice
    return choices


def _choose(message: Wanted, short: Shortlist, taken: set[UUID]) -> Choice | None:
    avoided = message.excluidos | (message.tentados if _others_exist(message, short) else frozenset())
    free = {chip.id: chip for chip in short.eligible if chip.id not in taken and chip.id not in avoided}
    own = message.conversa_chip
    if own is not None and own not in message.excluidos:
        if own in free:
            return Choice(own, "conversa")
        if message.tipo != TipoMensagem.PROSPECCAO and (own in taken or waits_for(short, own)):
            return None
    if message.afinidade in free and message.afinidade is not None:
        return Choice(message.afinidade, "afinidade")
    for chip in free.values():
        return Choice(chip.id, "fallback_trust" if short.emergency else "menor_uso")
    return None


def _others_exist(message: Wanted, short: Shortlist) -> bool:
    """Whether some chip that did not fail with this message can carry it, now or in a moment."""
    able = {chip.id for chip in short.eligible} | {chip for chip in short.refused if _is_only_busy(short, chip)}
    return bool(able - message.tentados - message.excluidos)


def waits_for(short: Shortlist, own: UUID) -> bool:
    """Whether a message of this type waits for its conversation's chip rather than take another.

    For one that is busy or pacing; a reply also for one that rests or has an open circuit.
    """
    if short.tipo == TipoMensagem.PROSPECCAO:
        return False
    patient = {Refusal.CIRCUITO, Refusal.COOLDOWN} if short.tipo == TipoMensagem.RESPOSTA else set()
    reasons = short.refused.get(own)
    return reasons is not None and set(reasons) <= MOMENTARY | patient


def _is_only_busy(short: Shortlist, chip: UUID) -> bool:
    reasons = short.refused.get(chip)
    return reasons is not None and set(reasons) <= MOMENTARY
