"""The report of the simulation, as JSON and as tables for people."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.clock import BRASILIA
from julia.exercicio.alertas.juiz import Julgada, Notificacao, Ocorrido
from julia.exercicio.alertas.simulacao import Medida, Tamanho


@dataclass(frozen=True, slots=True)
class Relatorio:
    """`falhas` … `duplicados` are the numbers of the goals. Seconds are simulated, but for `duracao_s`."""

    semente: int
    dias: int
    falhas: int = 0
    detectadas: int = 0
    mediana_s: float | None = None
    pior_s: float | None = None
    alertas: int = 0
    falsos: int = 0
    duplicados: int = 0
    reinicios: int = 0
    quase_falhas: int = 0
    mensagens: int = 0
    execucoes_de_jobs: int = 0
    avaliacoes: int = 0
    metas: Mapping[str, bool] = field(default_factory=dict)
    ok: bool = False
    por_falha: tuple[Mapping[str, Any], ...] = ()
    por_quase_falha: tuple[Mapping[str, Any], ...] = ()
    alertas_falsos: tuple[Mapping[str, Any], ...] = ()
    observacoes: tuple[str, ...] = ()
    duracao_s: float = 0.0

    @property
    def line(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, ensure_ascii=False)


def build(tamanho: Tamanho, medida: Medida, *, notes: tuple[str, ...], duracao_s: float) -> Relatorio:
    veredito = medida.veredito
    metas = dict(veredito.metas) | {
        "tamanho_minimo": len(veredito.falhas) == tamanho.falhas and medida.reinicios == tamanho.reinicios,
        "nenhuma_regra_quebrou": not medida.regras_quebradas,
    }
    broken = (f"regras que quebraram: {', '.join(medida.regras_quebradas)}",) if medida.regras_quebradas else ()
    return Relatorio(
        semente=tamanho.semente,
        dias=tamanho.dias,
        falhas=len(veredito.falhas),
        detectadas=veredito.detectadas,
        mediana_s=veredito.mediana_s,
        pior_s=veredito.pior_s,
        alertas=veredito.alertas,
        falsos=len(veredito.falsos),
        duplicados=veredito.duplicados,
        reinicios=medida.reinicios,
        quase_falhas=len(veredito.quase),
        mensagens=medida.enviadas,
        execucoes_de_jobs=medida.execucoes,
        avaliacoes=medida.turnos,
        metas=metas,
        ok=all(metas.values()),
        por_falha=tuple(_fault(one) for one in veredito.falhas),
        por_quase_falha=tuple(_near(each, told) for each, told in veredito.quase),
        alertas_falsos=tuple(_said(one) for one in veredito.falsos),
        observacoes=(*notes, *medida.observacoes, *broken),
        duracao_s=round(duracao_s, 1),
    )


def _fault(one: Julgada) -> dict[str, Any]:
    return {
        "tipo": one.falha.nome,
        "inicio": _local(one.falha.inicio),
        "detectado_s": one.detectado_s,
        "limite_s": one.falha.limite.total_seconds(),
        "alerta": one.alerta,
        "ok": one.in_time,
    }


def _near(each: Ocorrido, told: tuple[Notificacao, ...]) -> dict[str, Any]:
    return {
        "tipo": each.nome,
        "inicio": _local(each.inicio),
        "fim": _local(each.fim),
        "alertas": [f"{one.tipo} {one.chave}".strip() for one in told],
        "ok": not told,
    }


def _said(one: Notificacao) -> dict[str, Any]:
    return {"tipo": one.tipo, "chave": one.chave, "em": _local(one.em)}


def _local(instant: datetime) -> str:
    return instant.astimezone(BRASILIA).isoformat(timespec="seconds")


def table(report: Relatorio) -> str:
    """For people: the numbers, every fault, the near-misses that were not quiet, the alerts that belong to nothing."""
    found = f"falhas {report.falhas}, detectadas no limite {report.detectadas}"
    size = f"{report.mensagens} mensagens, {report.avaliacoes} avaliações, {report.reinicios} reinícios de quem avalia"
    lines = [
        "",
        f"{report.dias} dias simulados, semente {report.semente}: {size} ({report.duracao_s:.0f} s)",
        f"  {found}, mediana {_s(report.mediana_s)}, pior {_s(report.pior_s)}",
        f"  alertas {report.alertas}, falsos {report.falsos}, duplicados {report.duplicados}",
        "",
        f"  {'falha':<24}{'início':<18}{'detectada':>10}{'limite':>9}  alerta",
    ]
    lines += [
        f"{'  ' if each['ok'] else '✗ '}{each['tipo']:<24}{_when(each['inicio']):<18}{_s(each['detectado_s']):>10}"
        f"{_s(each['limite_s']):>9}  {each['alerta'] or 'ninguém foi avisado'}"
        for each in report.por_falha
    ]
    loud = [each for each in report.por_quase_falha if not each["ok"]]
    lines += ["", f"  quase-falhas em silêncio: {len(report.por_quase_falha) - len(loud)} de {report.quase_falhas}"]
    lines += [f"✗ {each['tipo']:<24}{_when(each['inicio']):<18}{', '.join(each['alertas'])}" for each in loud]
    lines += [f"✗ falso: {each['tipo']} {each['chave']} em {_when(each['em'])}" for each in report.alertas_falsos]
    lines += ["", *(f"  {'sim' if holds else 'NÃO'}  {name}" for name, holds in report.metas.items())]
    lines += [f"  obs.: {note}" for note in report.observacoes]
    return "\n".join([*lines, f"  {'OK' if report.ok else 'FALHOU'}"])


def _s(seconds: float | None) -> str:
    return "—" if seconds is None else f"{seconds:.0f} s"


def _when(text: str) -> str:
    return f"{datetime.fromisoformat(text):%d/%m %H:%M:%S}"
