"""A believable database of any size, for looking at pages and plans as they will be in a year.

Everything is INSERT … SELECT over `generate_series`, through the same triggers and constraints as in operation. People,
numbers and texts are invented: subscriber numbers from 9000 1-0000 on belong to nobody.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import transaction

from core.clientes import ddd, names
from core.crypto import encrypt
from core.database import execute
from julia import volume_sql as sql

DAYS = 90
JOB_MINUTES = 30 * 24 * 60
PEOPLE_AT_MOST = 5_000_000
CHIPS_AT_MOST = 500_000
CAMPAIGNS_AT_LEAST = 8
SEED = 0.42

FIRST = (
    "Ana", "André", "Antônio", "Beatriz", "Bruno", "Camila", "Carlos", "Cecília", "Daniela", "Diego", "Eduarda",
    "Eduardo", "Fernanda", "Flávio", "Gabriela", "Gustavo", "Helena", "Henrique", "Inês", "Isabela", "João", "José",
    "Júlia", "Larissa", "Leonardo", "Lúcia", "Luís", "Marcelo", "Mariana", "Mônica", "Natália", "Otávio", "Patrícia",
    "Paulo", "Rafael", "Renata", "Sérgio", "Sofia", "Tatiana", "Vinícius",
)  # fmt: skip
LAST = (
    "Almeida", "Andrade", "Araújo", "Azevedo", "Barbosa", "Barros", "Batista", "Brandão", "Cardoso", "Carvalho",
    "Cavalcanti", "Conceição", "Correia", "Costa", "Dias", "Duarte", "Farias", "Fernandes", "Ferreira", "Fonseca",
    "Freitas", "Gomes", "Gonçalves", "Guimarães", "Lima", "Lopes", "Machado", "Magalhães", "Martins", "Medeiros",
    "Melo", "Mendes", "Monteiro", "Moraes", "Moreira", "Nascimento", "Nogueira", "Nunes", "Oliveira", "Pereira",
    "Pinto", "Ramos", "Ribeiro", "Rocha", "Santana", "Santos", "Silveira", "Teixeira", "Vasconcelos", "Vieira",
)  # fmt: skip
SPECIALTIES = (
    "Clínica Médica", "Pediatria", "Ginecologia e Obstetrícia", "Anestesiologia", "Cardiologia", "Cirurgia Geral",
    "Ortopedia e Traumatologia", "Medicina de Emergência", "Medicina Intensiva", "Psiquiatria", "Dermatologia",
    "Neurologia", "Radiologia", "Endocrinologia", "",
)  # fmt: skip
CAPITALS = {
    "AC": "Rio Branco", "AL": "Maceió", "AM": "Manaus", "AP": "Macapá", "BA": "Salvador", "CE": "Fortaleza",
    "DF": "Brasília", "ES": "Vitória", "GO": "Goiânia", "MA": "São Luís", "MG": "Belo Horizonte", "MS": "Campo Grande",
    "MT": "Cuiabá", "PA": "Belém", "PB": "João Pessoa", "PE": "Recife", "PI": "Teresina", "PR": "Curitiba",
    "RJ": "Rio de Janeiro", "RN": "Natal", "RO": "Porto Velho", "RR": "Boa Vista", "RS": "Porto Alegre",
    "SC": "Florianópolis", "SE": "Aracaju", "SP": "São Paulo", "TO": "Palmas",
}  # fmt: skip

# (share, status, outcome, reason): how finished messages ended. Of a hundred, 87 were sent.
ENDS: tuple[tuple[float, str, str | None, str], ...] = (
    (0.8690, "enviada", "SENT", "ok"),
    (0.0010, "enviada", "BYPASS", "ok"),
    (0.0100, "bloqueada", "BLOCKED_OPTED_OUT", "opted_out"),
    (0.0080, "bloqueada", "BLOCKED_CONTACT_CAP", "contact_cap"),
    (0.0050, "bloqueada", "BLOCKED_COOLING_OFF", "cooling_off"),
    (0.0040, "bloqueada", "BLOCKED_NEXT_ALLOWED", "next_allowed_at"),
    (0.0060, "bloqueada", "BLOCKED_CAMPAIGN_COOLDOWN", "campaign_cooldown"),
    (0.0040, "bloqueada", "BLOCKED_HANDOFF", "handoff_ativo"),
    (0.0005, "bloqueada", "BLOCKED_DEV_ALLOWLIST", "dev_allowlist"),
    (0.0025, "bloqueada", "DEDUPED", "content_hash_window:duplicata"),
    (0.0200, "erro", "FAILED_VALIDATION", "not_on_whatsapp"),
    (0.0120, "erro", "FAILED_PROVIDER", "server_error"),
    (0.0060, "erro", "FAILED_BANNED", "account_restricted"),
    (0.0010, "erro", "FAILED_TIMEOUT", "timeout"),
    (0.0010, "erro", "FAILED_UNKNOWN", "unknown"),
    (0.0150, "cancelada", None, "cancelada_por_operador"),
    (0.0350, "cancelada", "FAILED_EXPIRED", "expired_after_24h"),
)
# Why a pending message waits. Of a hundred, 62 simply wait for their time.
WAITS: tuple[tuple[float, str, str | None, str | None], ...] = (
    (0.62, "pendente", None, None),
    (0.14, "pendente", "BLOCKED_QUIET_HOURS", "quiet_hours"),
    (0.10, "pendente", "FAILED_NO_CAPACITY", "no_capacity:chips_no_limite"),
    (0.06, "pendente", "FAILED_RATE_LIMIT", "rate_limit:limite_global"),
    (0.03, "pendente", "FAILED_CIRCUIT_OPEN", "evolution_circuit_open:queued_for_retry"),
    (0.03, "pendente", "BLOCKED_CAMPAIGNS_DISABLED", "campaigns_disabled"),
    (0.02, "pendente", "BLOCKED_SAFE_MODE", "safe_mode"),
)


class Impossible(ValueError):
    """Sizes that do not fit together; the text is for whoever asked."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many of each. `mensagens` have ended (a few of the newest are `incerta`); `pendentes` come on top."""

    mensagens: int
    pendentes: int
    medicos: int
    chips: int
    campanhas: int

    @classmethod
    def of(
        cls,
        mensagens: int,
        *,
        pendentes: int | None = None,
        medicos: int | None = None,
        chips: int | None = None,
        campanhas: int | None = None,
    ) -> "Size":
        """What is not given follows from `mensagens` as in a real operation: five each, one chip per ten thousand."""
        return cls(
            mensagens=mensagens,
            pendentes=mensagens // 10 if pendentes is None else pendentes,
            medicos=medicos or max(1_000, mensagens // 5),
            chips=chips or min(500, max(8, mensagens // 10_000)),
            campanhas=campanhas or max(12, mensagens // 5_000),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """One campaign: how many of its rows have ended, are due, come later; how many people it left out."""

    nome: str
    tipo: str
    status: str
    dias_atras: int
    feitas: int
    vencidas: int
    futuras: int
    excluidas: int

    @property
    def people(self) -> int:
        return self.feitas + self.vencidas + self.futuras + self.excluidas


@dataclass(frozen=True, slots=True)
class Step:
    """What one statement group wrote."""

    nome: str
    linhas: int
    segundos: float


CAMPAIGN_SHARE, PENDING_SHARE = 0.9, 0.95  # of the finished and of the pending messages; the rest has no campaign
_RUNNING, _HELD = 3, 1  # the first campaigns are active, the next one paused
_LATEST = ("ativa",) * _RUNNING + ("pausada",) * _HELD + ("cancelada", "agendada", "rascunho")
_TYPES = ("discovery", "oferta", "oferta_plantao", "reativacao", "followup", "feedback")


def campaigns(size: Size) -> list[Plan]:
    """Sizes between 1 and 10 units; a few run, one is paused, one was cancelled, most are done. Raises Impossible."""
    if size.campanhas < CAMPAIGNS_AT_LEAST:
        raise Impossible(f"são precisas pelo menos {CAMPAIGNS_AT_LEAST} campanhas, para haver de cada situação")
    if size.medicos > PEOPLE_AT_MOST or size.chips > CHIPS_AT_MOST:
        raise Impossible(f"há números inventados para {PEOPLE_AT_MOST} médicos e {CHIPS_AT_MOST} chips")
    statuses = [*_LATEST, *["concluida"] * (size.campanhas - len(_LATEST))]
    weights = [0 if status in ("agendada", "rascunho") else 1 + (7 * i) % 10 for i, status in enumerate(statuses)]
    unit = size.mensagens * CAMPAIGN_SHARE / sum(weights)
    waiting = int(size.pendentes * PENDING_SHARE) // (_RUNNING + _HELD)
    plans = []
    for i, (status, weight) in enumerate(zip(statuses, weights, strict=True)):
        holds = waiting if status in ("ativa", "pausada") else 0
        done = round(unit * weight)
        plans.append(
            Plan(
                nome=f"Volume {i + 1:04d} · {SPECIALTIES[i % 14]}",
                tipo=_TYPES[i % len(_TYPES)],
                status=status,
                dias_atras=min(DAYS, done // sql.SENT_PER_DAY + 1 + (i * DAYS) // len(statuses)),
                feitas=done,
                vencidas=holds // 2,
                futuras=holds - holds // 2,
                excluidas=done // 20,
            )
        )
    if (largest := max(plan.people for plan in plans)) > size.medicos:
        raise Impossible(f"a maior campanha tem {largest} pessoas e só haveria {size.medicos} médicos")
    return plans


def build(size: Size, *, report: Callable[[Step], None] = lambda step: None) -> list[Step]:
    """Add it all in one transaction, beside what is there: an interrupted run leaves nothing. Raises Impossible."""
    plans = campaigns(size)
    steps: list[Step] = []
    with transaction.atomic():
        execute("SET CONSTRAINTS ALL IMMEDIATE")  # checked per statement: a million deferred checks would fill memory
        execute("SELECT setseed(%s)", [SEED])
        for nome, write in _writers(size, plans):
            started = time.monotonic()
            steps.append(Step(nome, write(), time.monotonic() - started))
            report(steps[-1])
    return steps


def _writers(size: Size, plans: list[Plan]) -> Iterator[tuple[str, Callable[[], int]]]:
    yield "médicos", lambda: _people(size.medicos)
    yield "chips", lambda: _chips(size.chips)
    yield "campanhas", lambda: _campaigns(plans)
    yield "destinatários", lambda: execute(sql.RECIPIENTS)
    yield "conversas e mensagens", lambda: _messages(size, plans)
    yield "tentativas", lambda: sum(execute(each) for each in sql.ATTEMPTS)
    yield "eventos", lambda: execute(sql.EVENTS) + execute(sql.DEAD)
    yield "interações", lambda: sum(execute(each) for each in sql.INTERACTIONS)
    yield "estado dos médicos", lambda: sum(execute(each) for each in sql.STATES)
    yield "importações", lambda: execute(sql.IMPORTS) + execute(sql.REJECTED)
    yield "execuções de jobs", lambda: execute(sql.JOBS, {"minutes": min(JOB_MINUTES, size.mensagens)})


def _people(count: int) -> int:
    areas = sorted(ddd.DDDS)
    execute(
        sql.PEOPLE,
        {
            "count": count,
            "ddds": areas,
            "ufs": [ddd.DDDS[area][0] for area in areas],
            "capitals": [CAPITALS[ddd.DDDS[area][0]] for area in areas],
            "zones": [ddd.DDDS[area][1] for area in areas],
            "first": list(FIRST),
            "last": list(LAST),
            "first_keys": [names.search_key(name) for name in FIRST],
            "last_keys": [names.search_key(name) for name in LAST],
            "specialties": list(SPECIALTIES),
        },
    )
    return execute(sql.PEOPLE_ROWS)


def _chips(count: int) -> int:
    execute(sql.CHIPS, {"count": count, "ddds": sorted(ddd.DDDS)})
    return execute(sql.CHIP_ROWS, {"secret": encrypt("segredo-inventado-do-volume")})


def _campaigns(plans: list[Plan]) -> int:
    execute(
        sql.CAMPAIGNS,
        {
            "nomes": [plan.nome for plan in plans],
            "tipos": [plan.tipo for plan in plans],
            "estados": [plan.status for plan in plans],
            "dias": [plan.dias_atras for plan in plans],
            "feitas": [plan.feitas for plan in plans],
            "vencidas": [plan.vencidas for plan in plans],
            "futuras": [plan.futuras for plan in plans],
            "excluidas": [plan.excluidas for plan in plans],
        },
    )
    return execute(sql.CAMPAIGN_ROWS, {"per_day": sql.SENT_PER_DAY})


def _messages(size: Size, plans: list[Plan]) -> int:
    """Each message as it will be goes into a temporary table first: all that follows is picked from it."""
    for table, ends in (("volume_fins", ENDS), ("volume_esperas", WAITS)):
        execute(
            sql.ENDS.format(table=table),
            [[end[0] for end in ends], [end[1] for end in ends], [end[2] for end in ends], [end[3] for end in ends]],
        )
    execute(sql.LINES, {"per_day": sql.SENT_PER_DAY})
    done, waiting = (sum(plan.feitas for plan in plans), sum(plan.vencidas + plan.futuras for plan in plans))
    lone = size.mensagens - done
    execute(sql.LONE_LINES, {"feitas": lone, "total": lone + size.pendentes - waiting})
    for statement in sql.TIES:
        execute(statement)
    return sum(execute(each) for each in (*sql.CONVERSATIONS, *sql.MESSAGES))
