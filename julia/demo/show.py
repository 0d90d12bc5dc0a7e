"""One campaign of the demonstration, told to the person at the terminal while it goes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django_q.tasks import async_task

from core.database import rows
from core.jobs.registry import Cluster
from fila.campanhas.models import Campanha
from fila.campanhas.status import summary
from fila.choices import CampanhaStatus
from fila.enqueue import FOLLOWUP, enqueue
from julia.demo import campaign

TELL_EVERY = timedelta(seconds=10)
LEAVING = 2
MAY_GO_MEANWHILE = 5
REMINDER_IN = timedelta(days=1)
REMINDER = "Oi, {nome}! Passando para lembrar das vagas que comentei ontem. Ainda tem interesse?"


def begin(now: datetime) -> int:
    """What was interrupted goes on, else a new campaign; a tick saves the cluster from waiting for the minute."""
    campanha_id = campaign.unfinished() or campaign.schedule_next(now).pk
    async_task("core.jobs.admin.run_manual", "processar_campanhas_agendadas", {}, cluster=Cluster.CRITICO.value)
    return campanha_id


class Show:
    """`leaving` are the telephones of those who still have to answer that they want to leave.

    `is_continued`: the campaign is one of an earlier start, so another one is due when it is over.
    """

    def __init__(self, campanha_id: int, say: Callable[[str], None], *, now: datetime) -> None:
        self._id = campanha_id
        self._say = say
        campanha = Campanha.objects.get(pk=campanha_id)
        self._nome = campanha.nome_template
        self.is_continued = campanha.iniciada_em is not None
        self._began = self._told_at = now
        self._told: dict[str, Any] = {}
        self.is_over = False
        self._has_chosen = False
        self.leaving: list[str] = []

    def look(self, now: datetime) -> None:
        """Choose, tell, or do nothing: called every half second."""
        if self.is_over:
            return
        found = summary(self._id)
        if not self._has_chosen and found["pendentes"] and found["enfileiradas"]:
            self.leaving, self._has_chosen = self._choose_leaving(now), True
        self._tell_departures()
        if campaign.is_over(found["status"]):
            self.is_over = True
            self._tell_end(found, now)
        elif self._is_news(found, now):
            self._told, self._told_at = found, now
            self._tell(found)

    def _choose_leaving(self, now: datetime) -> list[str]:
        """Two whose message is about to go, each with another one waiting for tomorrow: that one must never go."""
        chosen = rows(
            """SELECT m.cliente_id, c.telefone, c.primeiro_nome FROM fila_mensagens m
               JOIN clientes c ON c.id = m.cliente_id
               WHERE m.campanha_id = %s AND m.status = 'pendente'
               ORDER BY m.agendar_para, m.id LIMIT %s OFFSET %s""",
            [self._id, LEAVING, MAY_GO_MEANWHILE],
        )
        for person in chosen:
            enqueue(
                person["cliente_id"],
                REMINDER.format(nome=person["primeiro_nome"] or "doutor(a)"),
                tipo="lembrete",
                prioridade=FOLLOWUP,
                agendar_para=now + REMINDER_IN,
                idempotency_key=f"demonstracao:{self._id}:{person['cliente_id']}",
            )
        return [person["telefone"] for person in chosen]

    def _tell_departures(self) -> None:
        """Who left has said it once: they need not answer the confirmation the same way."""
        if not self.leaving:
            return
        found = rows(
            """SELECT c.telefone, count(m.id) AS bloqueadas FROM clientes c
               JOIN doctor_state d ON d.cliente_id = c.id AND d.permission_state = 'opted_out'
               LEFT JOIN fila_mensagens m ON m.cliente_id = c.id AND m.status = 'bloqueada'
                   AND m.outcome = 'BLOCKED_OPTED_OUT'
               WHERE c.telefone = ANY(%s) GROUP BY c.telefone""",
            [self.leaving],
        )
        for gone in found:
            self.leaving = [telefone for telefone in self.leaving if telefone != gone["telefone"]]
            self._say(f"Um médico pediu para sair. Mensagens que esperavam por ele e não irão: {gone['bloqueadas']}.")

    def _is_news(self, found: dict[str, Any], now: datetime) -> bool:
        began = [key for key in ("enfileiradas", "enviadas") if found[key] and not self._told.get(key)]
        if found["status"] != self._told.get("status") or began:
            return True
        return found != self._told and now - self._told_at >= TELL_EVERY

    def _tell(self, found: dict[str, Any]) -> None:
        name = f"Campanha “{self._nome}”"
        if found["status"] == CampanhaStatus.AGENDADA:
            self._say(f"{name} agendada para agora: o agendador vai começá-la.")
        elif found["status"] == CampanhaStatus.PAUSADA:
            self._say(f"{name} pausada: retome-a no backoffice.")
        elif not found["enfileiradas"]:
            self._say(f"{name} começou: escolhendo quem a recebe.")
        else:
            self._say(f"{name}: {counted(found)}.")

    def _tell_end(self, found: dict[str, Any], now: datetime) -> None:
        label = CampanhaStatus(found["status"]).label.lower()
        if self.is_continued:
            self._say(f"Campanha “{self._nome}”, que tinha sido interrompida, {label}: {counted(found)}.")
            return
        minutes, seconds = divmod(round((now - self._began).total_seconds()), 60)
        self._say(f"Campanha “{self._nome}” {label} em {minutes} min {seconds:02d} s: {counted(found)}.")
        self._say("Tudo continua no ar: crie a sua campanha no backoffice, ou rode make run de novo para outra destas.")


_COUNTED = (
    ("entregues", "entregue", "entregues"),
    ("respondidas", "pessoa respondeu", "pessoas responderam"),
    ("bloqueadas", "bloqueada", "bloqueadas"),
    ("falhas", "com falha", "com falha"),
    ("incertas", "incerta", "incertas"),
    ("canceladas", "cancelada", "canceladas"),
)


def counted(found: dict[str, Any]) -> str:
    """`34 de 80 enviadas, 30 entregues, 6 pessoas responderam`; zeros are left out."""
    parts = [f"{found[key]} {one if found[key] == 1 else many}" for key, one, many in _COUNTED if found[key]]
    return ", ".join([f"{found['enviadas']} de {found['audiencia']} enviadas", *parts])
