"""What drills about one restricted chip share: the fleet of January, the restriction, and what must follow from it.

Limits are those of the phase `operacao` by trust (chips reference §3.2); only the global budget is wider than the
default, because a hundred campaign messages of weight 2 would take two days under 20 an hour.
"""

from datetime import datetime, timedelta
from typing import Any

from julia.exercicio.bancada import Bancada
from julia.exercicio.frota import ChipDoExercicio
from julia.exercicio.verdade import utc

MESSAGES = 100
SENT_BEFORE = 4
TRUSTS = (85, 75, 70, 70)
WITHIN_S = 15.0
GLOBAL = {"limite_global_hora": 200, "limite_global_dia": 600}
VERDE: dict[str, Any] = {"limite_hora": 30, "limite_dia": 100, "delay_minimo_segundos": 45}
AMARELO: dict[str, Any] = {"limite_hora": 24, "limite_dia": 80, "delay_minimo_segundos": 60}


def set_up(b: Bancada, mode: str, trusts: tuple[int, ...] = TRUSTS) -> tuple[list[ChipDoExercicio], int]:
    """The fleet, one chip of which will be restricted after four sends, and the campaign's id. Workers run."""
    b.start_api()
    b.frota.settings(**GLOBAL)
    chips = [chip for trust in trusts for chip in b.frota.add_chips([trust], **(VERDE if trust >= 80 else AMARELO))]
    b.simulador.fault("restringe_apos", instance=chips[0].instancia, n=SENT_BEFORE, mode=mode)
    b.start_agenda()
    campanha = b.frota.due_campaign(b.tamanhos.mensagens or MESSAGES)
    b.start_workers(2, senders=8)
    return chips, campanha.pk


def first_refusal(b: Bancada, chip: ChipDoExercicio, *, sent: int = SENT_BEFORE) -> datetime:
    """When the chip that was restricted after `sent` messages was first called again; let time pass until then."""

    def calls() -> list[float]:
        return [call.at for call in b.simulador.calls(chip.instancia) if call.ended_at is not None][sent:]

    b.run(lambda: bool(calls()), what="a primeira chamada ao chip restrito")
    last = b.simulador.truth().by_chip(chip.instancia)[sent - 1]
    b.medidas.restritos[chip.instancia] = utc(last.at) + timedelta(microseconds=1)
    return utc(calls()[0])


def expect_ejection(b: Bancada, chip: ChipDoExercicio, since: datetime) -> None:
    """Chip out and alert row, both within 15 s of `since`."""
    alert = "SELECT created_at FROM alertas WHERE chave = %s ORDER BY created_at LIMIT 1"
    out = "SELECT degradado_em FROM chips WHERE id = %s AND status = 'degraded'"

    def told() -> tuple[datetime | None, datetime | None]:
        alerts = b.banco.rows(alert, [f"chip:{chip.id}"])
        outs = b.banco.rows(out, [chip.id])
        return (alerts[0]["created_at"] if alerts else None, outs[0]["degradado_em"] if outs else None)

    b.run(lambda: None not in told(), for_s=120, step_s=2.0)
    alerted, ejected = told()
    b.goal("alerta_em_15_s", _soon(alerted, since), f"alerta: {alerted}, primeira recusa: {since}")
    b.goal("chip_fora_em_15_s", _soon(ejected, since), f"chip fora: {ejected}, primeira recusa: {since}")
    if alerted and ejected:
        b.medidas.deteccao_s = (max(alerted, ejected) - since).total_seconds()


def _soon(moment: datetime | None, since: datetime) -> bool:
    return moment is not None and (moment - since).total_seconds() <= WITHIN_S


def expect_recovery(b: Bancada, chip: ChipDoExercicio, since: datetime) -> None:
    """How long until another chip delivered."""
    others = [utc(r.at) for r in b.simulador.truth().records if r.chip != chip.instancia and r.delivered]
    after = [at for at in others if at >= since]
    if after:
        b.medidas.recuperacao_s = (after[0] - since).total_seconds()


def expect_few_calls(b: Bancada, chip: ChipDoExercicio, most: int = 2) -> None:
    since = b.medidas.restritos[chip.instancia]
    count = sum(utc(call.at) >= since for call in b.simulador.calls(chip.instancia))
    b.goal(f"ate_{most}_chamadas_ao_restrito", count <= most, f"{count} chamadas depois da restrição")


def expect_provider_closed(b: Bancada) -> None:
    changes = b.banco.value("SELECT count(*) FROM circuit_transitions WHERE circuit_name IN ('evolution', 'zapi')")
    b.goal("circuito_do_provedor_fechado", changes == 0, f"{changes} mudanças no circuito de um provedor")


def expect_sent(b: Bancada, least: int) -> None:
    sent = b.count("enviada")
    b.goal(f"ao_menos_{least}_enviadas", sent >= least, f"{sent} enviadas")


def expect_out_after_burst(b: Bancada, chip: ChipDoExercicio) -> None:
    """The first ERROR acknowledgements are the only sign there is; the chip is out soon after them."""
    out = "SELECT degradado_em FROM chips WHERE id = %s AND status = 'degraded'"
    b.run(lambda: bool(b.banco.rows(out, [chip.id])), for_s=3600, step_s=5.0)
    ejected = b.banco.rows(out, [chip.id])
    errors = (
        "SELECT min(delivery_status_at) AS em FROM envios_tentativas WHERE chip_id = %s AND delivery_status = 'failed'"
    )
    first = b.banco.one(errors, [chip.id])["em"]
    b.goal("chip_fora_depois_dos_erros", bool(ejected), "o chip que responde ERROR continua enviando")
    if ejected and first:
        b.medidas.deteccao_s = (ejected[0]["degradado_em"] - first).total_seconds()
