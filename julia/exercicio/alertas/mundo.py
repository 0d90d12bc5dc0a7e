"""The world of the simulation: a clock that stands still between steps, roles, jobs, fleet, people and messages.

Everything that an alert may read is written by the code that writes it in operation.
"""

import contextlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from django.db import transaction

from chips import blocking, ejection
from chips.models import Chip
from chips.providers.base import State
from chips.webhooks.inbox import process_inbox
from chips.webhooks.parsing import parse
from chips.webhooks.store import store
from core.clientes.models import Cliente
from core.database import rows
from core.health import beats
from fila.campanhas import services as campanhas
from fila.enqueue import FOLLOWUP, REPLY, enqueue
from fila.models import Campanha
from fila.reconciliacao import acts
from guardrails.models import Feriado
from julia.exercicio.alertas import provedor
from julia.exercicio.alertas.agenda import Agenda
from julia.exercicio.alertas.correio import Correio, Mode, failing
from julia.exercicio.bancada import Bancada
from julia.exercicio.frota import ACTOR, MOTIVO, ChipDoExercicio

HOLIDAYS = {"2026-04-03": "Sexta-feira Santa", "2026-04-21": "Tiradentes", "2026-05-01": "Dia do Trabalho"}
TRUSTS = (92, 90, 88, 86, 85, 84, 82, 81, 80, 78, 76, 74)
ZAPI_TRUSTS = (88, 82, 75, 70)


#: fila_due_of_campanha and fila_due_without_campanha; what a pause holds waits for a person.
_NEXT_DUE = """
SELECT least(
    (SELECT min(x.em) FROM campanhas k CROSS JOIN LATERAL (
        SELECT min(agendar_para) AS em FROM fila_mensagens WHERE campanha_id = k.id AND status = 'pendente') x
     WHERE k.status = 'ativa'),
    (SELECT min(agendar_para) FROM fila_mensagens WHERE campanha_id IS NULL AND status = 'pendente')) AS em
"""
#: Whether a look could change anything: something due, something in the inbox, a circuit or a share to be looked after.
_HAS_WORK = """
SELECT EXISTS (SELECT 1 FROM fila_mensagens WHERE status = 'pendente' AND agendar_para <= agora())
    OR EXISTS (SELECT 1 FROM webhook_eventos WHERE status IN ('pendente', 'aguardando') AND proxima_em <= agora())
    OR EXISTS (SELECT 1 FROM circuits WHERE state <> 'closed' OR forced <> '' OR share IS NOT NULL)
    OR EXISTS (SELECT 1 FROM alertas WHERE resolvido_em IS NULL) AS sim
"""


class Papel:
    """One role as its process shows it: beats while it lives, silence after a SIGKILL, a last word after a SIGTERM."""

    def __init__(self, nome: str, rng: random.Random) -> None:
        self.nome = nome
        self.vivo = False
        self._rng = rng
        self._instancia = ""

    def start(self) -> None:
        """A new process: a new instance, which beats at once."""
        self._instancia = f"maquina-1:{self._rng.randrange(1000, 60000)}:{self.nome}"
        self.vivo = True
        self.beat()

    def kill(self) -> None:
        """SIGKILL: its row stays as if it lived. The last beat is of this instant."""
        self.beat()
        self.vivo = False

    def stop(self) -> None:
        """SIGTERM: it says goodbye."""
        beats.close(self._instancia)
        self.vivo = False

    def beat(self) -> None:
        if self.vivo:
            beats.beat(self.nome, self._instancia, {"simulado": True})


class Mundo:
    """Handed to every fault. `agora` is the instant of the present step (UTC)."""

    def __init__(self, bancada: Bancada, rng: random.Random, start: datetime) -> None:
        self.bancada = bancada
        self.rng = rng
        self.agora = start
        self.papeis = {nome: Papel(nome, rng) for nome in ("api", "scheduler", "worker")}
        self.agenda = Agenda(start)
        self.correio = Correio("maquina-1:worker", rng)
        self.sessoes = provedor.Sessoes()
        self.recibos = provedor.Recibos()
        self.chips: list[ChipDoExercicio] = []
        self.people: list[Cliente] = []
        self.is_calm = False
        self._by_id: dict[UUID, ChipDoExercicio] = {}
        self._written_to: list[Cliente] = []
        self._fresh = 0
        self._events = 0
        self._told = 0
        self._outbox: list[tuple[ChipDoExercicio, Mapping[str, Any]]] = []

    # -- the beginning --------------------------------------------------------------------------------------------

    def furnish(self, people: int) -> None:
        """Fleet, holidays, limits and doctors, before anything has started."""
        frota = self.bancada.frota
        frota.settings(limite_global_hora=None, limite_global_dia=None, pacing_s={"min": 20, "max": 60})
        limits: dict[str, Any] = {"limite_hora": 60, "limite_dia": 400, "delay_minimo_segundos": 20}
        self.chips = frota.add_chips(TRUSTS, acks=False, **limits)
        self.chips += frota.add_chips(ZAPI_TRUSTS, provider="z-api", acks=False, **limits)
        self._by_id = {chip.id: chip for chip in self.chips}
        Feriado.objects.bulk_create(Feriado(data=day, nome=name) for day, name in HOLIDAYS.items())
        self.people = frota.add_people(people)

    @property
    def of_evolution(self) -> list[ChipDoExercicio]:
        return [chip for chip in self.chips if chip.provider == "evolution"]

    # -- time -----------------------------------------------------------------------------------------------------

    def at(self, instant: datetime) -> None:
        self.agora = instant
        self.bancada.relogio.set(instant)

    def live(self) -> None:
        """What happened since the last step: signs of life, due jobs, the worker's looks, the provider's receipts."""
        with transaction.atomic():
            for papel in self.papeis.values():
                papel.beat()
        self.agenda.tick(self.agora, alive=self.papeis["scheduler"].vivo)
        self.send()

    def send(self) -> None:
        """The worker's part: inbox and fila."""
        self._post()
        if self.papeis["worker"].vivo and rows(_HAS_WORK)[0]["sim"]:
            process_inbox(limit=500, now=self.agora)
            self.correio.look()
            self._receipts()
            self._post()

    def look_again(self) -> None:
        """A moment later, where the last looks met a failure: what goes to another chip at once has gone there."""
        if self.correio.falhou and self.papeis["worker"].vivo:
            self.correio.look()
            self._receipts()

    def next_due(self) -> datetime | None:
        """When the worker has something to do next, as far as anybody may send it; None while it is dead."""
        if not self.papeis["worker"].vivo:
            return None
        return rows(_NEXT_DUE)[0]["em"]

    def _receipts(self) -> None:
        news = self.correio.enviadas[self._told :]
        for sent in news:
            if self.recibos.of(sent, among=len(news)):
                chip = self._by_id[sent.chip]
                self._outbox.append((chip, provedor.receipt(chip, sent)))
        self._told = len(self.correio.enviadas)

    def _post(self) -> None:
        """The provider's webhooks; while the api is dead it keeps them and tries again."""
        if not self.papeis["api"].vivo:
            return
        with transaction.atomic():
            for chip, body in self._outbox:
                raw = dict(body)
                store(parse(chip.provider, raw), raw, provider=chip.provider, instance=chip.instance_name)
        self._outbox.clear()

    # -- messages -------------------------------------------------------------------------------------------------

    def take_people(self, count: int) -> list[Cliente]:
        """Doctors nobody has written to yet."""
        chosen = self.people[self._fresh : self._fresh + count]
        self._fresh += count
        if len(chosen) < count:
            chosen += self.bancada.frota.add_people(count - len(chosen))
        return chosen

    def remind(self, count: int, *, in_s: float = 0.0) -> list[UUID]:
        """So many follow-ups, due `in_s` from now."""
        due = self.agora + timedelta(seconds=in_s)
        people = self.take_people(count)
        self._written_to += people
        with transaction.atomic():
            return [
                enqueue(
                    person.pk,
                    f"Oi, {person.primeiro_nome}! Ainda posso te ajudar com o plantão de {person.especialidade}?",
                    tipo="followup",
                    prioridade=FOLLOWUP,
                    agendar_para=due,
                )
                for person in people
            ]

    def errors_among(self, ids: Sequence[UUID], count: int) -> None:
        """Of these messages so many end as errors of our own."""
        self.correio.condemn(self.rng.sample(list(ids), count), failing("nos.pedido_invalido"))

    @contextlib.contextmanager
    def answers(self, mode: Mode) -> Iterator[None]:
        """Every provider ends its calls so."""
        before = dict(self.correio.provedores)
        self.correio.provedores |= {"evolution": mode, "z-api": mode}
        try:
            yield
        finally:
            self.correio.provedores = before

    def reply_comes(self) -> None:
        """A doctor whom Julia has written to, or a stranger, writes on a chip, and Julia answers."""
        person = self.rng.choice(self._written_to) if self._written_to else self.take_people(1)[0]
        chip = self.rng.choice(self.of_evolution)
        self._events += 1
        text = self.rng.choice(("Oi! Qual o valor?", "Pode me passar os detalhes?", "Bom dia, que dia seria?"))
        body = provedor.inbound(chip, person.telefone, person.primeiro_nome, text, self._events, self.agora)
        self._outbox.append((chip, body))
        if not (self.papeis["api"].vivo and self.papeis["worker"].vivo):
            return
        self._post()
        process_inbox(limit=500, now=self.agora)
        found = rows(
            """SELECT id, conversation_id FROM interacoes WHERE cliente_id = %s AND tipo = 'entrada'
               ORDER BY id DESC LIMIT 1""",
            [person.pk],
        )
        for row in found:
            enqueue(
                person.pk,
                f"Oi, {person.primeiro_nome}! O plantão é de 12 horas; te passo os detalhes. ({self._events})",
                tipo="resposta",
                prioridade=REPLY,
                conversa_id=row["conversation_id"],
                inbound_interacao_id=row["id"],
            )

    @contextlib.contextmanager
    def held(self, ids: Sequence[UUID]) -> Iterator[None]:
        """Somebody's open transaction holds these messages: the worker passes them over, and they stay due."""
        with psycopg.connect(self.bancada.scratch.url) as other:
            other.execute("SELECT id FROM fila_mensagens WHERE id = ANY(%s) FOR UPDATE", [list(ids)])
            yield
            other.rollback()

    @contextlib.contextmanager
    def calm(self) -> Iterator[None]:
        """Nobody enqueues anything else meanwhile."""
        self.is_calm = True
        try:
            yield
        finally:
            self.is_calm = False

    def first_due(self, campanha: Campanha) -> datetime:
        found = rows("SELECT min(agendar_para) AS em FROM fila_mensagens WHERE campanha_id = %s", [campanha.pk])
        return found[0]["em"] or self.agora

    def settle_uncertain(self) -> None:
        """A person looks at the phones and says of each: it was sent."""
        for row in rows("SELECT id FROM fila_mensagens WHERE status = 'incerta' ORDER BY id"):
            acts.confirm_sent(row["id"], actor=ACTOR, motivo=MOTIVO, now=self.agora)

    def first_send(self, chip: UUID, *, since: datetime) -> datetime:
        """When the chip's first send after `since` began; now, where there was none."""
        found = rows(
            "SELECT min(iniciado_em) AS em FROM envios_tentativas WHERE chip_id = %s AND iniciado_em >= %s",
            [chip, since],
        )
        return found[0]["em"] or self.agora

    # -- chips ----------------------------------------------------------------------------------------------------

    def connection(self, chips: Iterable[ChipDoExercicio], state: State, *, reason: int | None = None) -> None:
        """The phone's session changes: in the provider, which the monitor asks, and by its webhook."""
        for chip in chips:
            self._events += 1
            self.sessoes.estados[chip.id] = state
            self._outbox.append((chip, provedor.connection(chip, state, reason, self._events)))
        self._post()
        process_inbox(limit=500, now=self.agora)

    def reconnect_by_hand(self, chip: ChipDoExercicio) -> None:
        """A person reads the QR code and puts the chip back into production."""
        self.connection([chip], State.OPEN)
        Chip.objects.filter(pk=chip.id, status="paused").update(status="active")

    def block(self, chips: Sequence[ChipDoExercicio]) -> None:
        for chip in chips:
            blocking.block(chip.id, motivo=MOTIVO, actor=ACTOR, now=self.agora)

    def unblock(self, chips: Sequence[ChipDoExercicio]) -> None:
        for chip in chips:
            blocking.unblock(chip.id, motivo=MOTIVO, actor=ACTOR, now=self.agora)

    def restore(self, chip: ChipDoExercicio) -> None:
        """A person gives a chip back that WhatsApp had restricted."""
        ejection.restore(chip.id, actor=ACTOR, motivo=MOTIVO, now=self.agora)

    # -- campaigns and switches -----------------------------------------------------------------------------------

    def campaign(self, count: int, nome: str, *, at: datetime | None = None) -> Campanha:
        """As an operator makes it: scheduled for `at`, or started now and planned over the fleet's capacity."""
        people = self.take_people(count)
        self._written_to += people
        campanha = campanhas.create(
            nome=nome,
            tipo="oferta_plantao",
            corpo="Oi, {{primeiro_nome|doutor(a)}}! Tenho um plantão de {{especialidade|sua área}}. Te conto mais?",
            filters={"clientes_especificos": [str(person.pk) for person in people], "quantidade_alvo": count},
            agendar_para=at,
            objetivo="Simulação de alertas.",
            pode_ofertar=True,
            actor=ACTOR,
            now=self.agora,
        )
        return campanha if at is not None else campanhas.start(campanha.pk, actor=ACTOR, now=self.agora)

    def messages_of(self, campanha: Campanha) -> list[UUID]:
        return [row["id"] for row in rows("SELECT id FROM fila_mensagens WHERE campanha_id = %s", [campanha.pk])]

    def pause(self, campanha: Campanha) -> None:
        campanhas.pause(campanha.pk, motivo=MOTIVO, actor=ACTOR, now=self.agora)

    def resume(self, campanha: Campanha) -> None:
        campanhas.resume(campanha.pk, motivo=MOTIVO, actor=ACTOR, now=self.agora)

    def cancel(self, campanha: Campanha) -> None:
        campanhas.cancel(campanha.pk, motivo=MOTIVO, actor=ACTOR, now=self.agora)

    def switch(self, name: str, *, value: bool) -> None:
        self.bancada.frota.settings(**{name: value})
