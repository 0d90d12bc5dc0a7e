"""A bad afternoon in rows: what Agora, Alertas, Jobs, Circuitos and Rastro show when several things are wrong at once.

Facts are written as production leaves them, then the real rules look at them: no alert here is invented.
"""

import math
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from chips.models import Chip
from core.alerts import services as alerts
from core.alerts.evaluator import evaluate
from core.alerts.models import Alerta
from core.circuits import services as circuits
from core.circuits.models import Circuit, CircuitTransition
from core.circuits.names import of_chip
from core.clientes import services as clientes
from core.clientes.models import Cliente
from core.clock import database_now
from core.database import execute
from core.flags.services import create_missing_rows
from core.health import beats
from core.jobs import cron, registry
from core.jobs.models import FIRST_SEEN, JobExecution, JobSlot
from fila.campanhas.lifecycle import pause
from fila.choices import Evento
from fila.models import Campanha, Mensagem, MensagemEvento
from julia.embedded.places import PROJECT
from tests import factories
from tests.julia.backoffice import attempt

DEMO_CSV = PROJECT / "core" / "clientes" / "demo" / "medicos.csv"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LATE, FAILING, LONG, ONCE = "verificar_whatsapp", "reconciliar_incertas", "resetar_fila_travada", "sincronizar_chips"
GAP = (timedelta(hours=7), timedelta(hours=6))  # nothing was measured: from so long ago to so long ago
WAITS = "evolution_circuit_open:queued_for_retry"
PARAGRAPH = "Oi, {primeiro_nome|doutor(a)}! Abrimos plantões de {especialidade} em {cidade}. Quer ver os horários?"


@dataclass(frozen=True, slots=True)
class Afternoon:
    """What the pages are asked for."""

    now: datetime
    chips: dict[str, Chip]
    paused: Campanha
    running: Campanha
    failed: Mensagem
    correlation_id: str

    def alerta(self, tipo: str) -> Alerta:
        return Alerta.objects.filter(tipo=tipo, resolvido_em__isnull=True).order_by("chave")[:1].get()

    def pages(self) -> dict[str, str]:
        """Name → address of every page of the operation."""
        circuit = self.alerta("circuito_aberto")
        return {
            "agora": "/admin/",
            "alertas": "/admin/core/alerta/?situacao=abertos",
            "alerta": f"/admin/core/alerta/{circuit.pk}/change/",
            "jobs": "/admin/core/jobexecution/jobs/",
            "execucoes": f"/admin/core/jobexecution/?q={FAILING}",
            "circuitos": "/admin/core/circuit/",
            "circuito": "/admin/core/circuit/evolution/change/",
            "rastro": f"/admin/rastro/?q={self.correlation_id}",
            "chip": f"/admin/chips/chip/{self.chips['julia-04'].pk}/change/",
        }


def bad_afternoon(*, pessoa: str = "marina", colega: str = "caio") -> Afternoon:
    """Everything at once, in an empty database with its roles."""
    factories.open_operation()
    create_missing_rows()
    now = database_now()
    for papel in ("worker", "scheduler", "api"):
        beats.beat(papel, f"{papel}-1")
    with DEMO_CSV.open("rb") as stream:
        clientes.importar(stream, nome_arquivo="medicos.csv", actor=pessoa, now=now - DAY)
    people = list(Cliente.objects.order_by("telefone"))
    chips = _fleet(now, pessoa)
    running = _running(people[:200], chips, now, pessoa)
    failed, correlation_id = _evolution_opens(people[200:216], chips, running, now)
    paused = _held(people[216:], now, pessoa)
    circuits.force_open(of_chip(chips["julia-05"].pk), actor=colega, motivo="número em troca de aparelho até amanhã")
    _jobs(now)
    _snapshots(now)
    for back in (5, 2, 0):
        evaluate(now - back * MINUTE)
    _people_act(pessoa, colega, now)
    return Afternoon(now, chips, paused, running, failed, correlation_id)


def _fleet(now: datetime, pessoa: str) -> dict[str, Chip]:
    limits = {
        "limite_hora": 40,
        "limite_dia": 300,
        "conexao_estado": "conectado",
        "conexao_verificada_em": now - MINUTE,
    }
    away = now - 50 * MINUTE
    chips = [
        factories.chip("julia-01", **limits, trust_score=88),
        factories.chip("julia-02", **limits, trust_score=79, trust_level="amarelo"),
        factories.chip(
            "julia-03", **limits, bloqueio_manual=True, bloqueio_motivo="médicos reclamaram do horário das mensagens",
            bloqueado_por=pessoa, bloqueado_em=now - 26 * HOUR, pode_prospectar=False, pode_followup=False,
        ),
        factories.chip(
            "julia-04", **(limits | {"conexao_estado": "desconectado", "conexao_falhas": 10}),
            evolution_connected=False, connection_state="close", disconnected_since=away, conexao_desde=away,
        ),
        factories.chip("julia-05", **limits, trust_score=72, trust_level="amarelo"),
        factories.chip("julia-06", **limits, status="warming", trust_score=48, trust_level="laranja"),
        factories.chip("zapi-01", **limits, provider="z-api", trust_score=81, zapi_instance_id="inventada-01"),
    ]  # fmt: skip
    return {chip.instance_name: chip for chip in chips}


def _running(people: list[Cliente], chips: dict[str, Chip], now: datetime, pessoa: str) -> Campanha:
    """180 of 200 planned over the day: most sent, some waiting for the circuit, some failed, two unknown."""
    campanha = factories.campanha(
        nome_template="Plantões de dezembro", corpo=PARAGRAPH, total_destinatarios=len(people),
        iniciada_em=now - 8 * HOUR, enfileirada_em=now - 8 * HOUR, termina_em=now + 3 * HOUR, created_by=pessoa,
    )  # fmt: skip
    rows = []
    for n, person in enumerate(people):
        row = _row(person, campanha)
        since = now - 8 * HOUR + n * 4.6 * MINUTE
        if n < 104:
            row |= {"status": "enviada", "outcome": "SENT", "outcome_reason_code": "ok", "enviada_em": since}
            row |= {
                "outcome_at": since,
                "chip": chips["julia-01" if n % 3 and n < 100 else "zapi-01"],
                "agendar_para": since,
            }
        elif n < 112:
            code = ("not_on_whatsapp", "network_error", "server_error")[n % 3]
            at = now - (n - 100) * 2 * MINUTE
            row |= {"status": "erro", "outcome": "FAILED_PROVIDER", "outcome_reason_code": code, "outcome_at": at}
        elif n < 114:
            row |= {"status": "incerta", "outcome": "FAILED_UNKNOWN", "outcome_reason_code": "timeout"}
            row |= {"outcome_at": now - 9 * MINUTE, "chip": chips["julia-02"]}
        elif n < 150:
            row |= {"outcome": "FAILED_CIRCUIT_OPEN", "outcome_reason_code": WAITS, "agendar_para": now + 4 * MINUTE}
        elif n < 158:
            row |= {"agendar_para": now - (n - 149) * 3 * MINUTE}
        else:
            row |= {"agendar_para": now + n * MINUTE}
        rows.append(Mensagem(**row))
    Mensagem.objects.bulk_create(rows)
    for sent in Mensagem.objects.filter(status="enviada").order_by("-enviada_em")[:12]:
        attempt(
            sent, chips[str(sent.chip)], resultado="enviado", codigo="ok", http_status=201, duracao_ms=840,
            iniciado_em=sent.enviada_em, encerrado_em=sent.enviada_em, provider_message_id=f"inventada-{sent.pk}",
            delivery_status="delivered",
        )  # fmt: skip
    return campanha


def _row(person: Cliente, campanha: Campanha | None) -> dict[str, object]:
    return {
        "id": uuid.uuid4(), "cliente": person, "telefone_destino": person.telefone, "campanha": campanha,
        "conteudo": f"Oi, {person.primeiro_nome}!", "tipo": "campanha",
    }  # fmt: skip


def _evolution_opens(
    people: list[Cliente], chips: dict[str, Chip], campanha: Campanha, now: datetime
) -> tuple[Mensagem, str]:
    """Five refused connections of two chips, the opening, two probes in vain. Returns the message that opened it."""
    opened, correlation_id = now - 18 * MINUTE, uuid.uuid4().hex
    for n, person in enumerate(people[:5]):
        began = opened - (5 - n) * timedelta(seconds=20)
        message = _refused(person, chips["julia-01" if n % 2 else "julia-02"], began, now)
    Mensagem.objects.filter(pk=message.pk).update(correlation_id=correlation_id, created_at=opened - HOUR)
    for person, wait in zip(people[5:7], (5, 15), strict=True):
        _refused(person, chips["julia-01"], opened + wait * MINUTE, now)
    changes = [
        ("closed", "open", "muitas_falhas_5", 5, 0.0), ("open", "half_open", "timeout_reset_300s", 5, 5.0),
        ("half_open", "open", "falha_half_open_tentativa_1", 6, 5.1),
        ("open", "half_open", "timeout_reset_600s", 6, 15.0),
        ("half_open", "open", "falha_half_open_tentativa_2", 7, 15.1),
    ]  # fmt: skip
    for before, after, reason, failures, minutes in changes:
        CircuitTransition.objects.create(
            circuit_name="evolution", from_state=before, to_state=after, reason=reason, falhas_consecutivas=failures,
            created_at=opened + minutes * MINUTE, correlation_id=correlation_id if minutes == 0 else "",
            causa=f"mensagem:{message.pk}" if minutes == 0 else "",
        )  # fmt: skip
    values = {
        "state": "open", "failures": 7, "step": 2, "generation": 3, "opened_at": opened, "last_error_kind": "rede",
        "failing_scopes": [str(chips[each].pk) for each in ("julia-01", "julia-02")], "retry_at": now + 7 * MINUTE,
        "last_failure_at": now - 3 * MINUTE, "last_success_at": opened - 2 * MINUTE,
    }  # fmt: skip
    Circuit.objects.update_or_create(name="evolution", defaults=values)
    waiting = Mensagem.objects.filter(outcome_reason_code=WAITS)
    MensagemEvento.objects.bulk_create(
        MensagemEvento(mensagem=each, tipo=Evento.ADIADA, motivo=WAITS, em=now - 17 * MINUTE) for each in waiting
    )
    return message, correlation_id


def _refused(person: Cliente, chip: Chip, began: datetime, now: datetime) -> Mensagem:
    """A message whose call was refused, and which now waits for the circuit."""
    row = _row(person, None) | {"tipo": "lembrete", "agendar_para": now + 4 * MINUTE, "tentativas": 1}
    row |= {"outcome": "FAILED_CIRCUIT_OPEN", "outcome_reason_code": WAITS}
    message = Mensagem.objects.create(**row)
    attempt(
        message, chip, resultado="rejeitado", codigo="network_error", regra="rede.recusada", duracao_ms=40,
        iniciado_em=began, encerrado_em=began + timedelta(milliseconds=40),
    )  # fmt: skip
    MensagemEvento.objects.create(mensagem=message, tipo=Evento.FALHA, motivo="network_error", em=began)
    return message


def _held(people: list[Cliente], now: datetime, pessoa: str) -> Campanha:
    """One campaign paused by a person, one planned for tomorrow."""
    paused = factories.campanha(
        nome_template="Ambulatório de pediatria", corpo=PARAGRAPH, total_destinatarios=len(people),
        iniciada_em=now - 5 * HOUR, enfileirada_em=now - 5 * HOUR, created_by=pessoa,
    )  # fmt: skip
    Mensagem.objects.bulk_create(Mensagem(**_row(person, paused)) for person in people)
    pause(paused.pk, motivo="a coordenação revisa os valores", actor=pessoa, now=now - 2 * HOUR)
    tomorrow = timezone.localtime(now).replace(hour=9, minute=0, second=0, microsecond=0) + DAY
    factories.campanha(
        nome_template="Retorno de quem não respondeu", corpo=PARAGRAPH, status="agendada", agendar_para=tomorrow,
        created_by=pessoa,
    )  # fmt: skip
    return paused


def _jobs(now: datetime) -> None:
    """A day of runs: one job is late, one fails, one takes too long, one failed once, the others are well."""
    for job in registry.registered():
        JobSlot.objects.get_or_create(job_name=job.name, slot=FIRST_SEEN, defaults={"taken_at": now - 30 * DAY})
        until = now - {LATE: 55 * MINUTE, LONG: 16 * MINUTE}.get(job.name, timedelta(0))
        newest = cron.latest_fire(job.cron, until)
        execute(_RUNS, {"job": job.name, "from": newest - DAY, "to": newest, "every": cron.interval(job.cron)})
    failed = {"error": "ConnectionRefusedError: a conexão com o provedor foi recusada", "status": "error"}
    runs = JobExecution.objects.filter(job_name=FAILING, started_at__gt=now - 20 * MINUTE)
    runs.update(response_code=500, items_processed=None, **failed)
    once = JobExecution.objects.filter(job_name=ONCE, started_at__lt=now - 3 * HOUR).order_by("-started_at")[:1].get()
    JobExecution.objects.filter(pk=once.pk).update(response_code=500, items_processed=None, **failed)
    JobExecution.objects.create(job_name=LONG, started_at=now - 7 * MINUTE, status="running", origem="agenda")


_RUNS = """
INSERT INTO job_executions (job_name, started_at, finished_at, status, duration_ms, response_code, items_processed,
    resultado, correlation_id)
SELECT %(job)s, at + interval '3 seconds', at + interval '3.18 seconds', 'success', 180, 200, length(%(job)s) %% 4,
    jsonb_build_object('processados', length(%(job)s) %% 4), replace(gen_random_uuid()::text, '-', '')
FROM generate_series(%(from)s::timestamptz, %(to)s::timestamptz, %(every)s::interval) AS at
"""


def _snapshots(now: datetime) -> None:
    """Every five minutes of a day, without one hour in the morning."""
    shapes = {
        "fila_pendentes": lambda hour: round(60 + 110 * math.sin(hour / 20 * math.pi) ** 2 + 6 * math.sin(hour * 5)),
        "fila_idade_mais_antiga_min": lambda hour: max(0.0, 3 + 2 * math.sin(hour * 3)) + max(0.0, (hour - 23.6) * 60),
        "fila_enviadas_ultima_hora": lambda hour: round(max(0.0, 22 * math.sin((hour - 2) / 28 * math.pi)) + hour / 8),
        "fila_erros_ultima_hora": lambda hour: float(int(hour) % 7 == 3) + (8.0 if hour > 23.7 else 0.0),
    }
    for name, shape in shapes.items():
        for step in range(288):
            at = now - step * 5 * MINUTE
            if GAP[1] < now - at < GAP[0]:
                continue
            value = round(shape(24 - step / 12), 1)
            execute(
                "INSERT INTO metrics_snapshots (metric_name, value, created_at) VALUES (%s, %s, %s)", [name, value, at]
            )


def _people_act(pessoa: str, colega: str, now: datetime) -> None:
    """One alert is taken, one is kept quiet."""
    taken = Alerta.objects.filter(tipo="job_falhando", resolvido_em__isnull=True).first()
    if taken is not None:
        alerts.acknowledge(taken.pk, actor=User.objects.filter(username=colega).first() or colega)
    quiet = Alerta.objects.filter(tipo="whatsapp_desconectado", resolvido_em__isnull=True).first()
    if quiet is not None:
        alerts.silence(
            quiet.tipo, quiet.chave, ate=now + 4 * HOUR, motivo="celular na assistência até o fim da tarde",
            actor=pessoa, alerta_id=quiet.pk,
        )  # fmt: skip
