"""Checking connections: who is asked, what is written, and what is said of it afterwards."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from chips import addresses
from chips.monitor import asking, store
from chips.monitor.asking import Answer
from chips.monitor.rules import ResultadoVerificacao, judge
from chips.monitor.store import Found, Target
from chips.providers.base import ChipAddress
from core.circuits.names import of_provider
from core.circuits.services import Gate, Snapshot, snapshot
from core.clock import database_now
from core.logging import get_logger

log = get_logger("chips.monitor")


@dataclass(frozen=True, slots=True)
class Check:
    """What became of one check. `resultado` None: not asked (see `why`). `written` False: somebody knew better."""

    target: Target
    resultado: ResultadoVerificacao | None
    written: bool
    estado: str
    detail: str = ""
    why: str = ""


NOT_ALLOWED = "fora de produção só o simulador é perguntado"
CIRCUIT_OPEN = "o circuito do provedor está aberto: a Julia espera a hora da próxima tentativa"
UNREADABLE = "as credenciais guardadas não podem ser lidas: grave-as de novo"


def check(ids: Collection[UUID] | None = None, *, deadline_s: float, counts: bool = True) -> list[Check]:
    """Ask for every chip with a session, or for those of `ids`, and write what was found. `counts`: see `rules.judge`.

    No provider is asked while its circuit is open and its time has not come: the knowledge stays as it is. Chips that
    were not reached in time keep theirs too, and are the first of the next call.
    """
    wanted = store.targets(ids)
    now, gates = database_now(), snapshot()
    behind = {target.chip_id for target in wanted if _is_closed(gates, target.provider)}
    known = addresses.load([target.chip_id for target in wanted if target.chip_id not in behind])
    answers = asking.ask(list(known.values()), now=now, deadline_s=deadline_s)
    found = {
        target.chip_id: _judged(target, answers[target.chip_id], counts=counts)
        for target in wanted
        if target.chip_id in answers
    }
    written = store.write(found.values())
    checks = [
        _checked(target, found.get(target.chip_id), answers.get(target.chip_id), written, behind, known)
        for target in wanted
    ]
    _log(checks)
    return checks


def tally(checks: Collection[Check]) -> dict[str, int]:
    """As the job answers: one number per result, and what was not counted there. `processados`: chips asked for."""
    asked = [one for one in checks if one.resultado is not None]
    by_result = Counter(one.resultado for one in asked)
    return {
        "processados": len(asked),
        **{resultado.value: by_result[resultado] for resultado in ResultadoVerificacao},
        "mudos": sum(one.estado == "conectado_mas_mudo" for one in asked),
        "superados": sum(not one.written for one in asked),
        "nao_perguntados": len(checks) - len(asked),
    }


def _is_closed(gates: Snapshot, provider: str) -> bool:
    return gates.gate(of_provider(provider)) is Gate.CLOSED


def _judged(target: Target, answer: Answer, *, counts: bool) -> Found:
    verdict = judge(target.known, answer.state, asked_at=answer.asked_at, counts=counts)
    return Found(target, verdict, answer.asked_at)


def _checked(
    target: Target,
    found: Found | None,
    answer: Answer | None,
    written: Collection[UUID],
    behind: Collection[UUID],
    known: Mapping[UUID, ChipAddress],
) -> Check:
    if found is None or answer is None:
        why = CIRCUIT_OPEN if target.chip_id in behind else NOT_ALLOWED if target.chip_id in known else UNREADABLE
        return Check(target, None, False, target.known.estado.value, why=why)
    verdict = found.verdict
    is_written = target.chip_id in written
    return Check(target, verdict.resultado, is_written, verdict.estado.value, detail=answer.state.detail)


_TOLD = (
    ResultadoVerificacao.DESCONECTADO,
    ResultadoVerificacao.RECONECTADO,
    ResultadoVerificacao.ERRO_PERSISTENTE,
)


def _log(checks: Collection[Check]) -> None:
    for one in checks:
        became_mute = one.estado == "conectado_mas_mudo" and one.target.known.estado.value != one.estado
        if one.written and (one.resultado in _TOLD or became_mute):
            log.warning(
                "conexão do chip",
                chip_id=str(one.target.chip_id),
                resultado=one.resultado.value if one.resultado else "",
                estado=one.estado,
                detalhe=one.detail,
            )
