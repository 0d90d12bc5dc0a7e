"""The report of one drill: counts from the evidence, every invariant by name, and one `ok`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from julia.exercicio import invariantes
from julia.exercicio.bancada import Medidas
from julia.exercicio.cenario import Cenario, Minimos
from julia.exercicio.verdade import Evidencia

TOLD_PER_INVARIANT = 5


@dataclass(frozen=True, slots=True)
class Relatorio:
    """Its fields up to `ok` are the keys of the JSON report, in that order. Seconds are simulated.

    `chamadas_ao_chip_restrito`: after it was restricted. `tamanhos`: what was reached and what was the least.
    """

    cenario: str
    semente: int
    mensagens: int = 0
    enviadas: int = 0
    duplicadas: int = 0
    perdidas: int = 0
    incertas: int = 0
    bloqueadas: int = 0
    mortes: int = 0
    chamadas_totais: int = 0
    chamadas_ao_chip_restrito: int = 0
    chamadas_com_circuito_aberto: int = 0
    limites: Mapping[str, Any] = field(default_factory=dict)
    limites_violados: int = 0
    deteccao_s: float | None = None
    recuperacao_s: float | None = None
    invariantes: Mapping[str, bool] = field(default_factory=dict)
    ok: bool = False
    tamanhos: Mapping[str, int] = field(default_factory=dict)
    observacoes: tuple[str, ...] = ()
    duracao_s: float = 0.0
    titulo: str = ""

    def as_json(self) -> dict[str, Any]:
        names = [name for name in self.__slots__ if name not in ("titulo", "duracao_s")]
        plain = {name: getattr(self, name) for name in names}
        return plain | {"limites": dict(self.limites), "observacoes": list(self.observacoes)}

    @property
    def line(self) -> str:
        return json.dumps(self.as_json(), ensure_ascii=False)


def read(values: Mapping[str, Any], *, titulo: str, duracao_s: float) -> Relatorio:
    """From its JSON."""
    return Relatorio(**{**values, "observacoes": tuple(values["observacoes"])}, titulo=titulo, duracao_s=duracao_s)


def build(
    cenario: Cenario, semente: int, e: Evidencia, medidas: Medidas, *, broken: str = "", duracao_s: float = 0.0
) -> Relatorio:
    """`broken`: why the scenario did not run to its end; the drill fails then, whatever else holds."""
    found = invariantes.judge(e)
    holds = {name: not violations for name, violations in found.items()} | medidas.metas
    sizes = {
        "mensagens": len(e.esperadas),
        "mortes": medidas.mortes,
        "mortes_com_chamada_aberta": medidas.mortes_com_chamada,
    }
    small = too_small(sizes, cenario.minimos)
    holds["tamanho_minimo"] = not small
    notes = [*medidas.observacoes, *small, *([f"o cenário parou: {broken}"] if broken else [])]
    for name, violations in found.items():
        notes += [f"{name}: {each}" for each in violations[:TOLD_PER_INVARIANT]]
        notes += [f"{name}: e mais {more}"] if (more := len(violations) - TOLD_PER_INVARIANT) > 0 else []
    return Relatorio(
        cenario=cenario.nome,
        semente=semente,
        mensagens=len(e.esperadas),
        enviadas=len(e.by_status("enviada")),
        duplicadas=sum(count - 1 for count in invariantes.duplicates(e).values()),
        perdidas=invariantes.lost(e),
        incertas=len(e.by_status("incerta")),
        bloqueadas=len(e.by_status("bloqueada")),
        mortes=medidas.mortes,
        chamadas_totais=len(e.chamadas),
        chamadas_ao_chip_restrito=calls_to_restricted(e),
        chamadas_com_circuito_aberto=len(invariantes.through_open(e)),
        limites=e.limites.as_json(),
        limites_violados=len(found["limites_respeitados"]),
        deteccao_s=medidas.deteccao_s,
        recuperacao_s=medidas.recuperacao_s,
        invariantes=holds,
        ok=all(holds.values()) and not broken,
        tamanhos=sizes | {f"minimo_{name}": value for name, value in least(cenario.minimos).items()},
        observacoes=tuple(notes),
        duracao_s=duracao_s,
        titulo=cenario.titulo,
    )


def calls_to_restricted(e: Evidencia) -> int:
    return sum(call.chip in e.restritos and call.at >= e.restritos[call.chip] for call in e.chamadas)


def least(minimos: Minimos) -> dict[str, int]:
    return {
        "mensagens": minimos.mensagens,
        "mortes": minimos.mortes,
        "mortes_com_chamada_aberta": minimos.mortes_com_chamada,
    }


def too_small(sizes: Mapping[str, int], minimos: Minimos) -> list[str]:
    return [
        f"pequeno demais para provar algo: {name} {sizes[name]} de {value}"
        for name, value in least(minimos).items()
        if sizes[name] < value
    ]


def table(report: Relatorio) -> str:
    """For people, in Portuguese."""
    verdict = "OK" if report.ok else "FALHOU"
    lines = [
        "",
        f"{report.cenario} (semente {report.semente}): {verdict} em {report.duracao_s:.0f} s",
        f"  {report.titulo}",
        "",
        *_pairs(
            [
                ("mensagens", report.mensagens),
                ("enviadas", report.enviadas),
                ("duplicadas", report.duplicadas),
                ("perdidas", report.perdidas),
                ("incertas", report.incertas),
                ("bloqueadas", report.bloqueadas),
                ("mortes de processos", _deaths(report)),
                ("chamadas ao provedor", report.chamadas_totais),
                ("ao chip restrito", report.chamadas_ao_chip_restrito),
                ("com circuito aberto", report.chamadas_com_circuito_aberto),
                ("limites violados", report.limites_violados),
                ("detecção", _seconds(report.deteccao_s)),
                ("recuperação", _seconds(report.recuperacao_s)),
            ]
        ),
        "",
        *(f"  [{'x' if holds else ' '}] {name}" for name, holds in report.invariantes.items()),
    ]
    if report.observacoes:
        lines += ["", *(f"  - {note}" for note in report.observacoes)]
    return "\n".join(lines)


def summary(reports: list[Relatorio]) -> str:
    """One line per drill, the failed ones with what broke."""
    lines = ["", "Resumo", ""]
    for report in reports:
        broken = [name for name, holds in report.invariantes.items() if not holds]
        verdict = "ok" if report.ok else "FALHOU: " + (", ".join(broken) or "o cenário não terminou")
        lines.append(
            f"  {report.cenario:<24} semente {report.semente:<3} {report.mensagens:>6} mensagens "
            f"{report.enviadas:>6} enviadas {report.incertas:>3} incertas {report.duracao_s:>5.0f} s  {verdict}"
        )
    failed = sum(not report.ok for report in reports)
    lines += ["", f"  {len(reports)} exercícios, {failed} com falha."]
    return "\n".join(lines)


def _pairs(values: list[tuple[str, object]]) -> list[str]:
    return [f"  {name:<24}{value!s:>10}" for name, value in values]


def _deaths(report: Relatorio) -> str:
    with_call = report.tamanhos.get("mortes_com_chamada_aberta", 0)
    return f"{report.mortes} ({with_call})" if report.mortes else "0"


def _seconds(value: float | None) -> str:
    return "—" if value is None else f"{value:.1f} s"
