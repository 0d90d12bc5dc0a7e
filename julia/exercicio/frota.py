"""Chips, people and campaigns of a drill: invented, made through the same models and services as in operation."""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chips.models import Chip
from core.clientes.models import Cliente
from core.flags.services import set_setting
from fila.campanhas import services
from fila.models import Campanha, Mensagem

if TYPE_CHECKING:
    from julia.exercicio.bancada import Bancada

ACTOR = "exercicio"
MOTIVO = "exercício: limites deste cenário"
TEXTO = "Oi, {{primeiro_nome|doutor(a)}}! Tenho um plantão para {{especialidade|a sua área}}. Posso te contar mais?"
FIRST = ("Ana", "Bruno", "Camila", "Diego", "Elisa", "Flávio", "Gabriela", "Heitor", "Inês", "João", "Larissa", "Mário")
SPECIALTIES = ("Cardiologia", "Pediatria", "Anestesiologia", "Clínica Médica")
#: Settings of an operation that no limit slows down; a scenario about limits sets its own.
ROOMY = {"limite_global_hora": None, "limite_global_dia": None, "pacing_s": {"min": 0, "max": 0}}
_BATCH = 2000


@dataclass(frozen=True, slots=True)
class ChipDoExercicio:
    """`instancia` is its name in the simulator."""

    id: uuid.UUID
    instance_name: str
    instancia: str
    telefone: str
    provider: str
    trust: int


class Frota:
    def __init__(self, bancada: "Bancada") -> None:
        self._bancada = bancada
        self.chips: list[ChipDoExercicio] = []
        self.mensagens: set[uuid.UUID] = set()
        self._numbers = iter(range(1, 1_000_000))

    # -- settings -------------------------------------------------------------------------------------------------

    def settings(self, **values: Any) -> None:
        """Operation settings by key, through their service (validated, audited)."""
        now = self._bancada.relogio.now()
        for key, value in values.items():
            set_setting(key, value, actor=ACTOR, motivo=MOTIVO, now=now)

    def roomy(self) -> None:
        self.settings(**ROOMY)

    # -- chips ----------------------------------------------------------------------------------------------------

    def add_chips(
        self, trusts: Sequence[int], *, provider: str = "evolution", acks: bool = True, **values: Any
    ) -> list[ChipDoExercicio]:
        """One chip per trust score, connected, registered in the simulator; with an api running its webhooks go there.

        `values` are columns of `chips`; by default no limit of its own slows a chip down.
        """
        return [self._add_chip(trust, provider, acks, values) for trust in trusts]

    def _add_chip(self, trust: int, provider: str, acks: bool, values: dict[str, Any]) -> ChipDoExercicio:
        number = next(self._numbers)
        zapi = provider == "z-api"
        name = f"chip-{number:02d}" + ("-zapi" if zapi else "")
        instance = f"3EX{number:021d}" if zapi else name
        columns: dict[str, Any] = {
            "telefone": f"55119000{90000 + number:05d}",
            "instance_name": name,
            "provider": provider,
            "status": "active",
            "evolution_connected": True,
            "connection_state": "open",
            "fase_warmup": "operacao",
            "trust_score": trust,
            "trust_level": level_of(trust),
            "pode_prospectar": True,
            "pode_followup": True,
            "pode_responder": True,
            "limite_hora": 100_000,
            "limite_dia": 100_000,
            "delay_minimo_segundos": 0,
            "webhook_secret": secrets.token_urlsafe(18),
        }
        if zapi:
            columns |= {
                "zapi_instance_id": instance,
                "zapi_token": secrets.token_hex(12),
                "zapi_client_token": secrets.token_hex(12),
            }
        row = Chip.objects.create(**columns | values)
        self._bancada.simulador.register(instance, phone=row.telefone, **self._place(row, acks))
        chip = ChipDoExercicio(row.pk, name, instance, row.telefone, provider, trust)
        self.chips.append(chip)
        return chip

    def _place(self, row: Chip, acks: bool) -> dict[str, Any]:
        """Where it is in the simulator, and where its webhooks go."""
        url = self._bancada.api_url
        if row.provider == "z-api":
            place: dict[str, Any] = {
                "provider": "z-api",
                "token": row.zapi_token,
                "client_token": row.zapi_client_token,
            }
            hook: dict[str, Any] = {"webhook_url": f"{url}/webhooks/zapi/s/{row.webhook_secret}"}
        else:
            place = {}
            hook = {
                "webhook_url": f"{url}/webhooks/evolution/{row.instance_name}",
                "webhook_headers": {"X-Instance-Secret": row.webhook_secret},
            }
        return place | (hook if url and acks else {})

    # -- people and messages --------------------------------------------------------------------------------------

    def add_people(self, count: int) -> list[Cliente]:
        """Doctors of São Paulo on numbers that belong to nobody (9 0001-0000 upwards)."""
        people = []
        for _ in range(count):
            number = next(self._numbers)
            first = FIRST[number % len(FIRST)]
            people.append(
                Cliente(
                    id=uuid.uuid4(),
                    telefone=f"5511{900_010_000 + number:09d}",
                    nome=f"{first} Inventada {number}",
                    primeiro_nome=first,
                    especialidade=SPECIALTIES[number % len(SPECIALTIES)],
                    status_telefone="validado",
                )
            )
        for start in range(0, count, _BATCH):
            Cliente.objects.bulk_create(people[start : start + _BATCH])
        return people

    def planned_campaign(self, count: int, *, nome: str = "Plantões da semana") -> Campanha:
        """A campaign as an operator starts it: audience, plan, due times spread over the chips' capacity."""
        people = self.add_people(count)
        now = self._bancada.relogio.now()
        campanha = services.create(
            nome=nome,
            tipo="oferta_plantao",
            corpo=TEXTO,
            filters={"clientes_especificos": [str(person.pk) for person in people], "quantidade_alvo": count},
            agendar_para=None,
            objetivo="Exercício de falhas.",
            pode_ofertar=True,
            actor=ACTOR,
            now=now,
        )
        started = services.start(campanha.pk, actor=ACTOR, now=now)
        self._remember(campanha.pk)
        return started

    def due_campaign(self, count: int, *, nome: str = "Tudo agora", people: Sequence[Cliente] = ()) -> Campanha:
        """A running campaign whose `count` messages are all due this instant: the worst a plan could have left."""
        chosen = list(people) or self.add_people(count)
        campanha = Campanha.objects.create(
            nome_template=nome, tipo_campanha="oferta_plantao", status="ativa", corpo=TEXTO, corpo_congelado=TEXTO,
            created_by=ACTOR, iniciada_em=self._bancada.relogio.now(), enfileirada_em=self._bancada.relogio.now(),
        )  # fmt: skip
        self._enqueue(chosen, nome, campanha=campanha, tipo="campanha", prioridade=3)
        return campanha

    def due_reminders(self, people: Sequence[Cliente], *, nome: str) -> None:
        """One proactive message outside any campaign for each, due now (they weigh 1)."""
        self._enqueue(people, nome, tipo="lembrete", prioridade=5)

    def _enqueue(self, people: Sequence[Cliente], nome: str, **values: Any) -> None:
        rows = [
            Mensagem(
                id=uuid.uuid4(),
                cliente=person,
                telefone_destino=person.telefone,
                conteudo=f"Oi, {person.primeiro_nome}! {nome}, plantão para {person.especialidade}. Posso contar mais?",
                **values,
            )
            for person in people
        ]
        for start in range(0, len(rows), _BATCH):
            Mensagem.objects.bulk_create(rows[start : start + _BATCH])
        self.mensagens |= {row.pk for row in rows}

    def _remember(self, campanha_id: int) -> None:
        self.mensagens |= set(Mensagem.objects.filter(campanha_id=campanha_id).values_list("id", flat=True))


def level_of(trust: int) -> str:
    """Chips reference §2: verde from 80, amarelo from 60, laranja from 40, vermelho from 20, critico below."""
    bounds = ((80, "verde"), (60, "amarelo"), (40, "laranja"), (20, "vermelho"))
    return next((level for least, level in bounds if trust >= least), "critico")


def instant(value: datetime | None) -> str:
    return value.isoformat() if value else "—"
