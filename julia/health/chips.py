"""`/health/chips`: who can carry messages now, by the rules that choose chips. Numbers by their last four digits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict

from chips import fleet
from chips.choices import NULL_PROVIDER, ChipStatus, ChipTipo, TipoMensagem
from chips.selection import EMERGENCY_TRUST, MOMENTARY, ChipFacts, refusals
from core.circuits import store
from core.circuits.models import CircuitState
from core.circuits.names import of_chip, of_provider
from core.circuits.transitions import CircuitFacts
from core.database import rows
from core.health.pages import Answers, Body, from_one
from core.health.reading import Reading
from julia.health.rate_limit import rules
from julia.health.shapes import Erro

HEALTHY_TRUST, CAREFUL_TRUST, LOW_TRUST = 80, 60, 40
HEALTHY_SHARE_MIN_PCT, OPEN_SHARE_MAX_PCT = 30, 50
MOST_SHOWN = 500
KINDS = {
    "prospeccao": TipoMensagem.PROSPECCAO,
    "followup": TipoMensagem.FOLLOWUP,
    "resposta": TipoMensagem.RESPOSTA,
}

# chips_by_status
_SHOWN = """
SELECT id, trust_level, conexao_estado, erros_ultimas_24h AS erros,
       CASE WHEN contadores_data = (%(now)s AT TIME ZONE 'America/Sao_Paulo')::date
            THEN msgs_enviadas_hoje ELSE 0 END AS hoje
FROM chips WHERE status = 'active' AND tipo = 'julia'
"""


@dataclass(frozen=True, slots=True)
class ChipSeen:
    """`carries`: the kinds that it can carry now or in a moment. `allowed`: those its permission and trust allow."""

    facts: ChipFacts
    circuit: CircuitFacts
    trust_level: str
    conexao: str
    hoje: int
    erros: int
    carries: frozenset[str]
    allowed: frozenset[str]
    provider_open: bool

    @property
    def is_available(self) -> bool:
        return bool(self.carries)

    @property
    def circuit_open(self) -> bool:
        return self.circuit.effective is CircuitState.OPEN

    @property
    def health(self) -> str:
        trust = self.facts.trust_score
        return "saudavel" if trust >= HEALTHY_TRUST else "atencao" if trust >= CAREFUL_TRUST else "critico"


def read_chips(now: datetime) -> list[ChipSeen]:
    """The chips in production: what is warming, resting for good or banned is not the sending fleet."""
    found = rules()
    ours = [chip for chip in fleet.load(ill_limit_pct=found.ill_limit_pct) if _sends(chip)]
    shown = {row["id"]: row for row in rows(_SHOWN, {"now": now})}
    _, circuits = store.read([of_chip(chip.id) for chip in ours])
    weights = {TipoMensagem.PROSPECCAO: found.policy.campaign_weight}
    return [_seen(chip, shown[chip.id], circuits, weights, now) for chip in ours if chip.id in shown]


def _sends(chip: ChipFacts) -> bool:
    return chip.status == ChipStatus.ACTIVE and chip.tipo == ChipTipo.JULIA and chip.provider != NULL_PROVIDER


def _seen(
    chip: ChipFacts,
    row: Mapping[str, Any],
    circuits: Mapping[str, CircuitFacts],
    weights: Mapping[TipoMensagem, int],
    now: datetime,
) -> ChipSeen:
    permitted = {"prospeccao": chip.pode_prospectar, "followup": chip.pode_followup, "resposta": chip.pode_responder}
    return ChipSeen(
        facts=chip,
        circuit=circuits.get(of_chip(chip.id), CircuitFacts(of_chip(chip.id))),
        trust_level=row["trust_level"],
        conexao=row["conexao_estado"],
        hoje=row["hoje"],
        erros=row["erros"],
        carries=frozenset(name for name, tipo in KINDS.items() if _carries(chip, tipo, weights.get(tipo, 1), now)),
        allowed=frozenset(
            name for name, tipo in KINDS.items() if permitted[name] and chip.trust_score >= EMERGENCY_TRUST[tipo]
        ),
        provider_open=of_provider(chip.provider) in chip.barreiras,
    )


def _carries(chip: ChipFacts, tipo: TipoMensagem, peso: int, now: datetime) -> bool:
    """Busy, pacing or held by another process for an instant is no lack of capacity."""
    return set(refusals(chip, tipo, peso=peso, now=now, trust_min=EMERGENCY_TRUST[tipo])) <= MOMENTARY


CHIPS: Reading[list[ChipSeen]] = Reading("chips", read_chips)


class Resumo(TypedDict):
    total: int | None
    disponiveis: int | None
    saudaveis: int | None
    atencao: int | None
    criticos: int | None
    circuit_aberto: int | None
    desconectados: int | None
    trust_medio: float | None


class Capacidade(TypedDict):
    prospeccao: int | None
    followup: int | None
    resposta: int | None


class ChipBody(TypedDict):
    telefone: str
    provider: str
    trust_score: int
    trust_level: str
    health: Literal["saudavel", "atencao", "critico"]
    circuit_state: Literal["closed", "open", "half_open"]
    circuit_falhas: int
    evolution_connected: bool
    conexao_estado: str
    pode_prospectar: bool
    pode_followup: bool
    pode_responder: bool
    msgs_hoje: int
    erros_24h: int
    is_available: bool


class ChipsBody(TypedDict):
    status: Literal["healthy", "degraded", "critical", "error"]
    message: str
    summary: Resumo
    capacidade: Capacidade
    chips: list[ChipBody]
    timestamp: str
    erro: NotRequired[Erro]
    desatualizado_desde: NotRequired[str | None]


def compose(answers: Answers, params: Mapping[str, Any]) -> Body:
    return from_one(
        answers["chips"],
        body,
        lambda: {
            "message": "Não foi possível ler os chips. Veja /health/ready.",
            "summary": dict.fromkeys(Resumo.__annotations__),
            "capacidade": dict.fromkeys(Capacidade.__annotations__),
            "chips": [],
        },
    )


def body(seen: list[ChipSeen], at: datetime) -> Body:
    status, message = judge(seen)
    return {
        "status": status,
        "message": message,
        "summary": summary(seen),
        "capacidade": {name: sum(name in each.carries for each in seen) for name in KINDS},
        "chips": [_shown(each) for each in seen[:MOST_SHOWN]],
        "timestamp": at.isoformat(),
    }


def judge(seen: list[ChipSeen]) -> tuple[str, str]:
    total = len(seen)
    counts = summary(seen)
    if not total:
        return "critical", "Nenhum chip em produção."
    if not counts["disponiveis"]:
        return "critical", f"Nenhum dos {total} chips em produção pode enviar agora."
    if 100 * counts["saudaveis"] < HEALTHY_SHARE_MIN_PCT * total:
        return "degraded", f"Só {counts['saudaveis']} de {total} chips têm confiança de {HEALTHY_TRUST} ou mais."
    if 100 * counts["circuit_aberto"] > OPEN_SHARE_MAX_PCT * total:
        return "degraded", f"{counts['circuit_aberto']} de {total} chips estão com o circuito aberto."
    return "healthy", f"{counts['disponiveis']} de {total} chips podem enviar agora."


def summary(seen: list[ChipSeen]) -> Body:
    trust = [each.facts.trust_score for each in seen]
    health = [each.health for each in seen]
    return {
        "total": len(seen),
        "disponiveis": sum(each.is_available for each in seen),
        "saudaveis": health.count("saudavel"),
        "atencao": health.count("atencao"),
        "criticos": health.count("critico"),
        "circuit_aberto": sum(each.circuit_open for each in seen),
        "desconectados": sum(not each.facts.conectado for each in seen),
        "trust_medio": round(sum(trust) / len(trust), 1) if trust else None,
    }


def _shown(each: ChipSeen) -> Body:
    return {
        "telefone": each.facts.final,
        "provider": each.facts.provider,
        "trust_score": each.facts.trust_score,
        "trust_level": each.trust_level,
        "health": each.health,
        "circuit_state": each.circuit.effective.value,
        "circuit_falhas": each.circuit.failures,
        "evolution_connected": each.facts.conectado,
        "conexao_estado": each.conexao,
        "pode_prospectar": "prospeccao" in each.allowed,
        "pode_followup": "followup" in each.allowed,
        "pode_responder": "resposta" in each.allowed,
        "msgs_hoje": each.hoje,
        "erros_24h": each.erros,
        "is_available": each.is_available,
    }


EXAMPLE: Body = {
    "status": "healthy",
    "message": "1 de 1 chips podem enviar agora.",
    "summary": {
        "total": 1, "disponiveis": 1, "saudaveis": 1, "atencao": 0, "criticos": 0, "circuit_aberto": 0,
        "desconectados": 0, "trust_medio": 85.0,
    },
    "capacidade": {"prospeccao": 1, "followup": 1, "resposta": 1},
    "chips": [
        {
            "telefone": "1234", "provider": "evolution", "trust_score": 85, "trust_level": "verde",
            "health": "saudavel", "circuit_state": "closed", "circuit_falhas": 0, "evolution_connected": True,
            "conexao_estado": "conectado", "pode_prospectar": True, "pode_followup": True, "pode_responder": True,
            "msgs_hoje": 12, "erros_24h": 0, "is_available": True,
        }
    ],
    "timestamp": "2026-03-03T13:00:00+00:00",
}  # fmt: skip
