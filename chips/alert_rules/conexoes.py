"""Alerts about connections: what the monitor found (chips/monitor), told per chip or once for the whole fleet."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from chips.alert_rules.comuns import DAY, DISCONNECTED, HALF_AN_HOUR, WHATSAPP_AWAY, chip_page
from chips.choices import ChipStatus
from chips.monitor.facts import Connections, Problem, Problema, connections
from core.alert_rules import DATABASE_AWAY, circuit_page, link, open_circuits
from core.alerts.models import Severidade
from core.alerts.rules import Finding, alert_rule, shared
from core.backoffice.moments import day_and_time, span
from core.backoffice.ui import counted
from core.circuits.names import of_chip, of_provider, spoken
from core.database import rows


@shared
def _known() -> Connections:
    return connections()


@alert_rule(
    WHATSAPP_AWAY,
    significa="Nenhum chip em produção está conectado ao WhatsApp: nada pode sair, nem respostas.",
    proximo="Veja se o servidor do provedor responde. Se responde, reconecte os chips pelo QR code, na página de cada "
    "um; um já basta para as respostas.",
    link=lambda _chave: link("chips_chip_changelist", status__exact="active"),
    descanso=timedelta(minutes=15),
    inibido_por=(DATABASE_AWAY,),
    escala_apos=timedelta(minutes=15),
)
def whatsapp_fora(now: datetime) -> Iterator[Finding]:
    known = _known()
    found = known.of(Problema.DESCONECTADO, Problema.SESSAO_ENCERRADA, Problema.BANIDO)
    gone = [each for each in found if _carried_until_now(each, now)]
    if known.ativos_conectados or not gone:
        return
    since = max(each.desde for each in gone)
    yield Finding(
        severidade=Severidade.CRITICAL,
        titulo="Nenhum chip em produção está conectado",
        mensagem=f"{counted(len(gone), 'chip caiu', 'chips caíram')}, o último {day_and_time(since, now)}: "
        f"{', '.join(each.nome for each in gone[:6])}. Nada sai até um deles voltar.",
        valor=0,
        limite=1,
        contexto={"chips": [each.nome for each in gone[:50]], "vigiados": known.vigiados},
        desde=since,
    )


def _carried_until_now(problem: Problem, now: datetime) -> bool:
    """In production; or its session ended, which pauses a chip, or it was banned, within a day."""
    if problem.status == ChipStatus.ACTIVE:
        return True
    return problem.problema in (Problema.SESSAO_ENCERRADA, Problema.BANIDO) and now - problem.desde <= DAY


@alert_rule(
    DISCONNECTED,
    significa="Duas verificações seguidas acharam este chip desconectado do WhatsApp, ou o WhatsApp encerrou a sessão "
    "ou baniu o número. As mensagens vão pelos outros chips.",
    proximo="Abra o chip e reconecte-o pelo QR code. Se o número foi banido, não há o que reconectar: troque o número.",
    link=chip_page,
    descanso=timedelta(minutes=45),
    inibido_por=(DATABASE_AWAY, WHATSAPP_AWAY),
)
def whatsapp_desconectado(now: datetime) -> Iterator[Finding]:
    for each in _known().of(Problema.DESCONECTADO, Problema.SESSAO_ENCERRADA, Problema.BANIDO):
        if each.problema is Problema.BANIDO and now - each.desde > DAY:
            continue  # nobody can mend it: after a day it is history, not an alert
        yield _of_connection(
            each,
            now,
            Severidade.CRITICAL if _carried_until_now(each, now) else Severidade.WARNING,
            _TITLES[each.problema],
            _WHAT[each.problema],
        )


_TITLES = {
    Problema.DESCONECTADO: "está desconectado do WhatsApp",
    Problema.SESSAO_ENCERRADA: "perdeu a sessão do WhatsApp",
    Problema.BANIDO: "foi banido pelo WhatsApp",
    Problema.MUDO: "está conectado, mas mudo",
}
_WHAT = {
    Problema.DESCONECTADO: "As verificações seguidas o acharam desconectado.",
    Problema.SESSAO_ENCERRADA: "O WhatsApp encerrou a sessão (401): só o QR code o traz de volta.",
    Problema.BANIDO: "O WhatsApp fechou a conexão com código 403: o número está banido.",
    Problema.MUDO: "O provedor diz que ele está conectado, mas nenhum eco ou recibo volta dos envios dele.",
}


def _of_connection(each: Problem, now: datetime, severity: Severidade, title: str, what: str) -> Finding:
    wire = f"último envio aceito {day_and_time(each.ultimo_fio_em, now)}" if each.ultimo_fio_em else "nunca enviou"
    echo = f"último eco {day_and_time(each.ultimo_eco_em, now)}" if each.ultimo_eco_em else "nenhum eco"
    return Finding(
        chave=each.chave,
        severidade=severity,
        titulo=f"Chip {each.nome} {title}",
        mensagem=f"{what} Desde {day_and_time(each.desde, now)} ({span((now - each.desde).total_seconds())}); {wire}, "
        f"{echo}.",
        valor=int((now - each.desde).total_seconds() // 60),
        contexto={
            "chip": each.nome,
            "provedor": each.provider,
            "situacao": each.status,
            "verificacoes": each.falhas,
            "verificada_em": each.verificada_em,
            "ultimo_envio": each.ultimo_fio_em,
            "ultimo_eco": each.ultimo_eco_em,
        },
        desde=each.desde,
    )


@alert_rule(
    "chip_mudo",
    significa="O provedor diz que o chip está conectado e aceita os envios, mas nada volta deles: nem eco, nem recibo. "
    "As mensagens podem não estar saindo.",
    proximo="Mande uma mensagem de teste pelo celular do chip. Se ela não sai, desconecte e conecte pelo QR code; se "
    "sai, confira o webhook da instância.",
    link=chip_page,
    inibido_por=(DATABASE_AWAY, WHATSAPP_AWAY),
)
def chip_mudo(now: datetime) -> Iterator[Finding]:
    for each in _known().of(Problema.MUDO):
        yield _of_connection(each, now, Severidade.ERROR, _TITLES[Problema.MUDO], _WHAT[Problema.MUDO])


@alert_rule(
    "provedor_sem_resposta",
    significa="O provedor não responde quando a Julia pergunta se os chips estão conectados. Isso não diz nada sobre "
    "os chips: o estado deles fica como era.",
    proximo="Veja se o servidor do provedor está no ar e se o endereço e a chave estão certos.",
    link=circuit_page,
    descanso=HALF_AN_HOUR,
    inibido_por=(DATABASE_AWAY, "circuito_aberto"),
)
def provedor_sem_resposta(now: datetime) -> Iterator[Finding]:
    silent = _known().of(Problema.SEM_RESPOSTA)
    for provider in sorted({each.provider for each in silent}):
        found = [each for each in silent if each.provider == provider]
        since = min(each.desde for each in found)
        name = of_provider(provider)
        yield Finding(
            chave=name,
            severidade=Severidade.ERROR,
            titulo=f"{spoken(name)} não responde às verificações",
            mensagem=f"{counted(len(found), 'chip', 'chips')} sem resposta em verificações seguidas, desde "
            f"{day_and_time(since, now)} ({', '.join(sorted({each.erro or 'sem resposta' for each in found}))}).",
            valor=len(found),
            contexto={"chips": [each.nome for each in found[:50]]},
            desde=since,
        )


@alert_rule(
    "circuito_de_chip_aberto",
    significa="Um chip em produção falhou várias vezes seguidas e descansa; os outros chips levam as mensagens.",
    proximo="Confira o número no celular. Se estiver bom, feche o circuito na página dele, com motivo.",
    link=circuit_page,
    inibido_por=(DATABASE_AWAY, "circuito_aberto", WHATSAPP_AWAY),
)
def circuito_de_chip_aberto(now: datetime) -> Iterator[Finding]:
    """Of chips in production: who left it has an alert of its own."""
    found = list(open_circuits(now, of_chips=True))
    if not found:
        return
    active = {of_chip(row["id"]) for row in rows("SELECT id FROM chips WHERE status = 'active'")}
    yield from (each for each in found if each.chave in active)
