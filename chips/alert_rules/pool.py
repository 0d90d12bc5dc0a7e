"""Alerts about how many chips can carry what. Quiet on fleets that were never larger, and about what people decided."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from chips import fleet
from chips.alert_rules.comuns import DAY, HALF_AN_HOUR, POOL_EMPTY, WHATSAPP_AWAY
from chips.choices import NULL_PROVIDER, ChipStatus, ChipTipo, TipoMensagem
from chips.selection import EMERGENCY_TRUST, MOMENTARY, ChipFacts, Refusal, refusals
from core.alert_rules import DATABASE_AWAY, link
from core.alerts.models import Severidade
from core.alerts.rules import Finding, alert_rule, shared
from core.backoffice.ui import counted
from core.database import rows

A_MOMENT = timedelta(minutes=2)
LEAST: dict[TipoMensagem, int] = {
    TipoMensagem.PROSPECCAO: 3,
    TipoMensagem.FOLLOWUP: 2,
    TipoMensagem.RESPOSTA: 2,
}  # jobs reference §4.5
HEALTHY_TRUST, LEAST_HEALTHY_PCT, LEAST_TO_JUDGE = 80, 30, 3

# What passes by itself: a chip that is only this is there. Open circuits and an ill fleet have alerts of their own.
_PASSING = MOMENTARY | {Refusal.LIMITE_HORA, Refusal.LIMITE_DIA, Refusal.CIRCUITO, Refusal.FROTA_DOENTE}


@dataclass(frozen=True, slots=True)
class Pool:
    """Chips of the operation for one type. `possiveis` carried it within a day, or could by what people set."""

    tipo: TipoMensagem
    possiveis: int
    disponiveis: int

    @property
    def is_low(self) -> bool:
        """Too few, and enough of them exist: a small fleet is no fault."""
        return self.disponiveis < LEAST[self.tipo] <= self.possiveis


def pool(chips: Sequence[ChipFacts], lately: frozenset[str], tipo: TipoMensagem, now: datetime) -> Pool:
    """`lately`: ids of chips that sent or fell out within a day. What a person does not permit is not missed, and what
    was taken out for longer than a day is a smaller fleet.
    """
    ours = [chip for chip in chips if _may(chip, tipo)]
    missed = [chip for chip in ours if _in_production(chip) or str(chip.id) in lately]
    return Pool(tipo, len(missed), sum(is_there(chip, tipo, now) for chip in missed))


def _may(chip: ChipFacts, tipo: TipoMensagem) -> bool:
    permitted = {
        TipoMensagem.PROSPECCAO: chip.pode_prospectar,
        TipoMensagem.FOLLOWUP: chip.pode_followup,
        TipoMensagem.RESPOSTA: chip.pode_responder,
    }
    return chip.tipo == ChipTipo.JULIA and chip.provider != NULL_PROVIDER and permitted[tipo]


def _in_production(chip: ChipFacts) -> bool:
    return chip.status == ChipStatus.ACTIVE and not chip.bloqueio_manual


def is_there(chip: ChipFacts, tipo: TipoMensagem, now: datetime) -> bool:
    """Whether the chip carries `tipo` now or within half an hour, at the lowest trust that is ever enough."""
    why = set(refusals(chip, tipo, peso=1, now=now, trust_min=EMERGENCY_TRUST[tipo])) - _PASSING
    ends = [at for at in (chip.cooldown_until, chip.connection_cooldown_until) if at is not None]
    if Refusal.COOLDOWN in why and all(at - now <= HALF_AN_HOUR for at in ends):
        why.discard(Refusal.COOLDOWN)
    return not why


@shared
def pools(now: datetime) -> dict[TipoMensagem, Pool]:
    chips = fleet.load()
    found = rows(
        """SELECT id FROM chips WHERE greatest(ultimo_envio_em, bloqueado_em, degradado_em, sessao_encerrada_em) > %s
               AND (ultimo_envio_em IS NOT NULL OR promoted_to_active_at IS NOT NULL OR status = 'active')""",
        [now - DAY],
    )
    lately = frozenset(str(row["id"]) for row in found)
    return {tipo: pool(chips, lately, tipo, now) for tipo in LEAST}


_about_the_pool = partial(
    alert_rule,
    link=lambda _chave: link("chips_chip_changelist"),
    segura=A_MOMENT,  # a chip that reconnects, a fleet that is being changed
    inibido_por=(DATABASE_AWAY, WHATSAPP_AWAY, POOL_EMPTY, "frota_doente"),
)


@alert_rule(
    POOL_EMPTY,
    significa="Há chips, mas nenhum pode levar mensagem de tipo nenhum: a fila inteira espera.",
    proximo="Abra Chips: cada um diz por que não pode. Reconecte, devolva à produção ou cadastre um número.",
    link=lambda _chave: link("chips_chip_changelist"),
    segura=timedelta(minutes=1),
    inibido_por=(DATABASE_AWAY, WHATSAPP_AWAY),
    escala_apos=HALF_AN_HOUR,
)
def pool_vazio(now: datetime) -> Iterator[Finding]:
    found = pools(now)
    if any(each.disponiveis for each in found.values()) or not any(each.possiveis for each in found.values()):
        return
    yield Finding(
        severidade=Severidade.CRITICAL,
        titulo="Nenhum chip pode enviar",
        mensagem=f"{counted(max(each.possiveis for each in found.values()), 'chip', 'chips')} da operação, nenhum "
        "disponível: desconectados, degradados, em descanso ou sem confiança. As mensagens esperam sem penalidade.",
        valor=0,
        limite=1,
        contexto={tipo.value: each.possiveis for tipo, each in found.items()},
    )


def _low(tipo: TipoMensagem, now: datetime) -> Iterator[Finding]:
    found = pools(now)[tipo]
    if not found.is_low:
        return
    yield Finding(
        severidade=Severidade.WARNING if found.disponiveis else Severidade.CRITICAL,
        titulo=f"{tipo.label}: {counted(found.disponiveis, 'chip disponível', 'chips disponíveis')}",
        mensagem=f"São {found.possiveis} chips com essa permissão e só {found.disponiveis} podem levar agora (mínimo "
        f"{LEAST[tipo]}). Enquanto isso as mensagens desse tipo saem mais devagar.",
        valor=found.disponiveis,
        limite=LEAST[tipo],
        contexto={"possiveis": found.possiveis},
    )


@_about_the_pool(
    "pool_baixo_prospeccao",
    significa="Menos de 3 chips podem levar campanhas, dos que levavam.",
    proximo="Abra Chips e veja o que tirou os outros. Devolva os bons à produção antes da próxima campanha.",
)
def pool_baixo_prospeccao(now: datetime) -> Iterator[Finding]:
    return _low(TipoMensagem.PROSPECCAO, now)


@_about_the_pool(
    "pool_baixo_followup",
    significa="Menos de 2 chips podem levar acompanhamentos, dos que levavam.",
    proximo="Abra Chips e veja o que tirou os outros.",
)
def pool_baixo_followup(now: datetime) -> Iterator[Finding]:
    return _low(TipoMensagem.FOLLOWUP, now)


@_about_the_pool(
    "pool_baixo_resposta",
    significa="Menos de 2 chips podem responder a médicos, dos que respondiam.",
    proximo="Abra Chips e veja o que tirou os outros: quem escreveu a eles está sem resposta.",
)
def pool_baixo_resposta(now: datetime) -> Iterator[Finding]:
    return _low(TipoMensagem.RESPOSTA, now)


@_about_the_pool(
    "pool_degradado",
    significa="Menos de 30% dos chips em produção têm confiança de 80 ou mais: os outros levam menos e param antes.",
    proximo="Reduza o ritmo das campanhas até a confiança voltar, ou ponha chips aquecidos em produção.",
)
def pool_degradado(now: datetime) -> Iterator[Finding]:
    chips = [chip for chip in fleet.load() if _may(chip, TipoMensagem.RESPOSTA) and _in_production(chip)]
    healthy = sum(chip.trust_score >= HEALTHY_TRUST for chip in chips)
    if len(chips) < LEAST_TO_JUDGE or healthy * 100 >= len(chips) * LEAST_HEALTHY_PCT:
        return
    yield Finding(
        severidade=Severidade.WARNING,
        titulo=f"Só {healthy} de {len(chips)} chips têm confiança alta",
        mensagem=f"São {healthy * 100 // len(chips)}% com confiança de {HEALTHY_TRUST} ou mais; o mínimo é "
        f"{LEAST_HEALTHY_PCT}%.",
        valor=healthy * 100 // len(chips),
        limite=LEAST_HEALTHY_PCT,
        contexto={"confianca": sorted(chip.trust_score for chip in chips)[:50]},
    )
