"""The campaign of each start: scheduled for now, gone in two minutes, another text each time."""

from datetime import datetime, timedelta
from typing import Any

from core.clock import BRASILIA
from core.database import execute, rows
from fila import policy
from fila.campanhas import audience, rendering, services
from fila.campanhas.filters import AudienceFilters
from fila.campanhas.models import Campanha
from fila.choices import CampanhaStatus

ACTOR = "demonstracao"
RECIPIENTS = 80
A_MONTH = timedelta(days=30)
SOON = timedelta(seconds=1)
SHIFTS = (
    ("Plantão de 12 h", "um plantão de 12 h no dia {dia}"),
    ("Plantão noturno", "um plantão noturno no dia {dia}, das 19h às 7h"),
    ("Fim de semana", "uma escala de fim de semana a partir de {dia}"),
    ("Ambulatório", "um turno de ambulatório no dia {dia}, à tarde"),
)
TEXT = (
    "Oi, {{primeiro_nome|doutor(a)}}! Aqui é a Julia. Tenho {oferta} para {{especialidade|a sua área}}. "
    "Posso te mandar os detalhes?"
)
FILTERS: dict[str, Any] = {"quantidade_alvo": RECIPIENTS, "dias_sem_contato": 0, "pressure_score_max": 100}


def unfinished() -> int | None:
    """The id of a campaign of an earlier start that was interrupted, or has not begun. Paused ones wait for people."""
    found = rows(
        """SELECT k.id FROM campanhas k WHERE k.created_by = %s AND (k.status = 'agendada' OR k.status = 'ativa'
               AND (k.enfileirada_em IS NULL OR EXISTS (SELECT 1 FROM fila_mensagens m
                    WHERE m.campanha_id = k.id AND m.status IN ('pendente', 'processando'))))
           ORDER BY k.id LIMIT 1""",
        [ACTOR],
    )
    return found[0]["id"] if found else None


def schedule_next(now: datetime) -> Campanha:
    """A new campaign, due at once. The task cluster starts it, as it would start anybody's."""
    number = Campanha.objects.filter(created_by=ACTOR).count() + 1
    if eligible(now) < RECIPIENTS:
        let_a_month_pass()
    title, offer = SHIFTS[number % len(SHIFTS)]
    day = now.astimezone(BRASILIA).date() + timedelta(days=3 + number % 60)
    return services.create(
        nome=f"Demonstração {number}: {title.lower()}",
        tipo="oferta_plantao",
        corpo=TEXT.format(oferta=offer.format(dia=f"{day:%d/%m}")),
        filters=FILTERS,
        agendar_para=now + SOON,
        objetivo="Mostrar a Julia trabalhando com médicos inventados.",
        pode_ofertar=True,
        actor=ACTOR,
        now=now,
    )


def eligible(now: datetime) -> int:
    """How many people a new campaign would reach, by the query that chooses them."""
    people = audience.people(
        AudienceFilters.parse(FILTERS),
        campanha_id=None,
        parts=rendering.compile(TEXT.format(oferta="x")),
        policy=policy.read().policy,
        now=now,
    )
    return audience.look(people, alvo=RECIPIENTS, amostra=0).total


def let_a_month_pass() -> None:
    """For whoever was written to: the next campaign finds them rested, and no rule has to be switched off.

    Two campaigns without an answer would leave a person out for good, so silence becomes an answer of a month ago.
    Who asked to leave stays out.
    """
    execute(
        """UPDATE doctor_state SET last_touch_at = last_touch_at - %(month)s,
               last_outbound_at = last_outbound_at - %(month)s,
               last_inbound_at = coalesce(last_inbound_at, last_outbound_at) - %(month)s
           WHERE last_outbound_at IS NOT NULL AND permission_state <> 'opted_out'""",
        {"month": A_MONTH},
    )


def is_over(status: str) -> bool:
    return status in (CampanhaStatus.CONCLUIDA, CampanhaStatus.CANCELADA)
