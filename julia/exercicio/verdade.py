"""The evidence of one drill, gathered once when it is over: the simulator's wire truth and Julia's own rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from core.circuits.names import of_provider

if TYPE_CHECKING:
    from julia.exercicio.bancada import Bancada


@dataclass(frozen=True, slots=True)
class Saida:
    """One message that left, or (`Chamada`-like use) when it did. `recipient` is canonical digits."""

    chip: str
    provider: str
    recipient: str
    text: str
    key_id: str
    at: datetime
    delivered: bool


@dataclass(frozen=True, slots=True)
class Chamada:
    """One send request as the provider saw it, in the order of arrival. `left`: it put something on the wire."""

    chip: str
    provider: str
    recipient: str
    text: str
    at: datetime
    ended: datetime | None
    left: bool
    fault: str = ""
    result: str = ""


@dataclass(frozen=True, slots=True)
class Linha:
    """One row of `fila_mensagens`, with whether the tables beside it tell its story."""

    id: UUID
    cliente_id: UUID
    campanha_id: int | None
    telefone: str
    texto: str
    tipo: str
    status: str
    outcome: str | None
    motivo: str | None
    peso: int
    agendar_para: datetime | None
    lease_ate: datetime | None
    tentativa_aberta: int | None
    tentativa_desconhecida: bool
    na_dlq: bool
    contada: bool
    campanha_status: str | None


@dataclass(frozen=True, slots=True)
class Mudanca:
    """One transition of a circuit."""

    circuito: str
    de: str
    para: str
    em: datetime
    motivo: str


@dataclass(frozen=True, slots=True)
class Tentada:
    """One row of the attempts ledger. `sondas`: the circuits it was the probe of."""

    chip: str
    em: datetime
    sondas: tuple[str, ...]
    resultado: str


@dataclass(frozen=True, slots=True)
class Limites:
    """The limits in force. None means no limit. Weights as in the settings; `chips` by simulator instance."""

    global_hora: int | None
    global_dia: int | None
    pessoa_dia: int
    peso_campanha: int
    pausa_s: Mapping[str, float]
    janela: Mapping[str, Any]
    chips: Mapping[str, Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        return {
            "global_hora": self.global_hora,
            "global_dia": self.global_dia,
            "pessoa_dia": self.pessoa_dia,
            "peso_campanha": self.peso_campanha,
            "intervalo_s": dict(self.pausa_s),
            "janela": dict(self.janela),
            "chips": {name: dict(values) for name, values in self.chips.items()},
        }


@dataclass(frozen=True, slots=True)
class Evidencia:
    """Everything that the invariants judge. `esperadas` are the ids that the drill put into the fila."""

    agora: datetime
    linhas: tuple[Linha, ...]
    esperadas: frozenset[UUID]
    saidas: tuple[Saida, ...]
    chamadas: tuple[Chamada, ...]
    mudancas: tuple[Mudanca, ...]
    limites: Limites
    circuito_de: Mapping[str, tuple[str, ...]]
    tentativas: tuple[Tentada, ...] = ()
    restritos: Mapping[str, datetime] = field(default_factory=dict)
    opt_outs: Mapping[str, datetime] = field(default_factory=dict)
    max_por_chip: Mapping[str, int] = field(default_factory=dict)
    quedas: tuple[str, ...] = ()
    jobs_com_erro: tuple[str, ...] = ()

    def by_status(self, *statuses: str) -> list[Linha]:
        return [row for row in self.linhas if row.status in statuses]


_LINHAS = """
SELECT m.id, m.cliente_id, m.campanha_id, m.telefone_destino AS telefone, m.conteudo AS texto, m.tipo, m.status,
       m.outcome, m.outcome_reason_code AS motivo, m.agendar_para, m.lease_ate,
       m.tentativa_aberta_id AS tentativa_aberta,
       coalesce((SELECT max(t.peso) FROM envios_tentativas t WHERE t.origem_id = m.id), 1) AS peso,
       EXISTS (SELECT 1 FROM envios_tentativas t WHERE t.origem_id = m.id AND t.resultado = 'desconhecido')
           AS tentativa_desconhecida,
       EXISTS (SELECT 1 FROM fila_mensagens_dlq d WHERE d.mensagem_original_id = m.id) AS na_dlq,
       EXISTS (SELECT 1 FROM fila_eventos e WHERE e.mensagem_id = m.id)
           OR EXISTS (SELECT 1 FROM envios_tentativas t WHERE t.origem_id = m.id) AS contada,
       k.status AS campanha_status
FROM fila_mensagens m LEFT JOIN campanhas k ON k.id = m.campanha_id ORDER BY m.created_at, m.id
"""


def gather(bancada: "Bancada") -> Evidencia:
    """To be called when nothing moves any more."""
    banco, clock = bancada.banco, bancada.relogio.simulated
    truth = bancada.simulador.truth()
    medidas = bancada.medidas
    instances = {chip.id: chip.instancia for chip in bancada.frota.chips}
    return Evidencia(
        agora=bancada.relogio.now(),
        linhas=tuple(Linha(**row) for row in banco.rows(_LINHAS)),
        esperadas=frozenset(bancada.frota.mensagens),
        saidas=tuple(
            Saida(r.chip, r.provider, r.recipient, r.text, r.key_id, clock(r.at), r.delivered) for r in truth.records
        ),
        chamadas=tuple(
            Chamada(
                c.chip,
                c.provider,
                c.recipient,
                c.text,
                clock(c.at),
                clock(c.ended_at) if c.ended_at is not None else None,
                c.wire_seq is not None,
                c.fault,
                c.result,
            )
            for c in bancada.simulador.calls()
        ),
        mudancas=tuple(
            Mudanca(row["circuit_name"], row["from_state"], row["to_state"], row["created_at"], row["reason"])
            for row in banco.rows("SELECT * FROM circuit_transitions ORDER BY created_at, id")
        ),
        limites=limits_in_force(bancada),
        circuito_de={chip.instancia: (of_provider(chip.provider), f"chip:{chip.id}") for chip in bancada.frota.chips},
        tentativas=tuple(
            Tentada(instances.get(row["chip_id"], ""), row["iniciado_em"], tuple(row["sondas"]), row["resultado"])
            for row in banco.rows("SELECT chip_id, iniciado_em, sondas, resultado FROM envios_tentativas ORDER BY id")
        ),
        restritos=dict(medidas.restritos),
        opt_outs=dict(medidas.opt_outs),
        max_por_chip={name: totals.max_open for name, totals in truth.totals.items()},
        quedas=tuple(f"{each.nome}: {each.disse[-400:]}" for each in bancada.processos.fallen()),
        jobs_com_erro=tuple(_jobs_that_failed(bancada)),
    )


def _jobs_that_failed(bancada: "Bancada") -> list[str]:
    """A job in the middle of whose run the drill took the database away failed rightly: its next tick is another."""
    told = list(bancada.agenda.failures) if bancada.agenda is not None else []
    excused = ("OperationalError", "InterfaceError") if bancada.outages else ()
    return [each for each in told if not any(word in each for word in excused)]


def limits_in_force(bancada: "Bancada") -> Limites:
    values = {row["key"]: row["value"] for row in bancada.banco.rows("SELECT key, value FROM app_settings")}
    chips = {
        row["instance_name"]: row
        for row in bancada.banco.rows(
            "SELECT instance_name, trust_score, limite_hora, limite_dia, delay_minimo_segundos FROM chips"
        )
    }
    return Limites(
        global_hora=values["limite_global_hora"],
        global_dia=values["limite_global_dia"],
        pessoa_dia=values["limite_diario_pessoa"],
        peso_campanha=values["peso_campanha"],
        pausa_s=values["pacing_s"],
        janela=values["janela_envio"],
        chips={
            chip.instancia: {
                "confianca": chips[chip.instance_name]["trust_score"],
                "hora": chips[chip.instance_name]["limite_hora"],
                "dia": chips[chip.instance_name]["limite_dia"],
                "intervalo_min_s": chips[chip.instance_name]["delay_minimo_segundos"],
            }
            for chip in bancada.frota.chips
        },
    )


def utc(unix: float) -> datetime:
    return datetime.fromtimestamp(unix, UTC)
