"""Why is nothing being sent? From the outside in, until the first thing that blocks."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from chips import addresses, fleet
from chips.choices import TipoMensagem
from chips.selection import MOMENTARY, SENTENCES, Shortlist, shortlist
from chips.simulated import is_simulator
from core.circuits import services as circuits
from core.circuits.names import of_provider, spoken
from core.clock import BRASILIA
from core.database import rows
from core.health import beats
from core.integrations.http import new_client
from fila import policy
from fila.ledger import global_left
from fila.policy import Rules
from guardrails import hours
from guardrails.choices import Kind, SwitchState
from guardrails.policy import holding_switches

WORKER_SILENT = timedelta(minutes=2)
SCHEDULER_SILENT = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `ok` None: it does not apply now. `proximo` is what to do when it blocks."""

    check: str
    ok: bool | None
    detalhe: str
    proximo: str = ""


Check = Callable[[datetime], Iterable[Finding]]


def diagnose(now: datetime) -> list[Finding]:
    """Every finding in order; without a database only those that need none."""
    found = list(_configuration(now))
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        return [*found, _database_away(type(error).__name__)]
    for check in CHECKS:
        found += check(now)
    return found


def first_blocker(findings: Iterable[Finding]) -> Finding | None:
    return next((finding for finding in findings if finding.ok is False), None)


def _configuration(now: datetime) -> Iterable[Finding]:
    if settings.EVOLUTION_API_URL or settings.PRODUCTION:
        yield Finding("configuracao", True, f"ambiente {settings.APP_ENV or 'dev'}")
    else:
        yield Finding(
            "configuracao",
            None,
            "EVOLUTION_API_URL não está definida neste terminal",
            "Se os papéis também não a têm, defina-a; com `make run` o supervisor a entrega a eles.",
        )


def _database_away(kind: str) -> Finding:
    return Finding(
        "banco",
        False,
        f"o banco de dados não responde ({kind})",
        "Verifique DATABASE_URL e se o PostgreSQL está no ar.",
    )


def _database(now: datetime) -> Iterable[Finding]:
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        yield Finding("banco", False, f"{len(pending)} migrações por aplicar", "Rode `python manage.py migrate`.")
    else:
        yield Finding("banco", True, "responde e está migrado")


def _environment(now: datetime) -> Iterable[Finding]:
    state = policy.read().policy.switches.ambiente_travado
    if state is SwitchState.OFF:
        yield Finding("ambiente", True, "o banco é deste ambiente")
        return
    keys = "('environment', 'supabase_project_ref', 'envio_travado')"
    stored = {
        row["key"]: row["value"]
        for row in rows(f"SELECT key, value FROM app_settings WHERE key IN {keys}")  # noqa: S608 (constants)
    }
    if stored.get("envio_travado") is not False:
        yield Finding(
            "ambiente",
            False,
            "o envio está travado em Ajustes (envio_travado)"
            if stored.get("envio_travado") is True
            else "o ajuste envio_travado não pôde ser lido: na dúvida, nada sai",
            "Se o banco é mesmo deste ambiente, desligue envio_travado em Ajustes, com motivo.",
        )
        return
    yield Finding(
        "ambiente",
        False,
        f"o banco diz ser de outro ambiente ({stored.get('supabase_project_ref') or stored.get('environment')}; aqui é "
        f"{settings.SUPABASE_PROJECT_REF or settings.APP_ENV}): o envio está travado",
        "Se este banco é mesmo deste ambiente, confirme em Ajustes o valor de supabase_project_ref, environment e "
        "envio_travado. Se é uma cópia, deixe travado.",
    )


def _roles(now: datetime) -> Iterable[Finding]:
    yield _role(
        "worker", now, WORKER_SILENT, "a fila não é consumida", "Inicie-o: `python manage.py servir --papel worker`."
    )
    yield _role(
        "scheduler",
        now,
        SCHEDULER_SILENT,
        "campanhas agendadas não começam",
        "Inicie-o: `python manage.py servir --papel scheduler`.",
    )


def _role(papel: str, now: datetime, silent: timedelta, effect: str, todo: str) -> Finding:
    newest = beats.newest(papel)
    if newest is None:
        return Finding(papel, False, f"o {papel} nunca deu sinal de vida: {effect}", todo)
    if newest.encerrado_em is not None:
        return Finding(papel, False, f"o {papel} foi encerrado às {_clock(newest.encerrado_em)}: {effect}", todo)
    if now - newest.beat_at > silent:
        return Finding(papel, False, f"o {papel} não dá sinal desde {_clock(newest.beat_at)}: {effect}", todo)
    return Finding(papel, True, f"sinal de vida às {_clock(newest.beat_at)}")


_POSITIONS = {
    SwitchState.ON: "está ligada",
    SwitchState.OFF: "está desligada",
    SwitchState.UNREADABLE: "não pôde ser lida",
}


def _switches(now: datetime) -> Iterable[Finding]:
    rules = policy.read()
    held: dict[str, set[str]] = {}
    for kind in (Kind.CAMPANHA, Kind.FOLLOWUP, Kind.RESPOSTA):
        for name, _ in holding_switches(rules.policy.switches, kind, proactive=kind is not Kind.RESPOSTA):
            held.setdefault(name, set()).add(kind.label.lower())
    held.pop("ambiente_travado", None)
    if not held:
        yield Finding("chaves", True, "nenhuma chave retém envios")
    for name, kinds in held.items():
        position = _POSITIONS[getattr(rules.policy.switches, name)]
        yield Finding(
            "chaves",
            False,
            f"a chave {name} {position} e retém: {', '.join(sorted(kinds))}",
            "Se não é de propósito, mude-a em Ajustes (com motivo).",
        )


def _allowlist(now: datetime) -> Iterable[Finding]:
    if settings.PRODUCTION:
        yield Finding("lista_de_teste", None, "em produção não há lista de teste")
        return
    told = _told_by_worker(now)
    simulated, listed = told or (asyncio.run(_all_simulated(addresses.base_urls())), len(settings.OUTBOUND_ALLOWLIST))
    if simulated:
        yield Finding("lista_de_teste", True, "os provedores são o simulador: nada sai de verdade")
    elif not listed:
        yield Finding(
            "lista_de_teste",
            False,
            "fora de produção, sem simulador e com OUTBOUND_ALLOWLIST vazia: todo envio é bloqueado",
            "Ponha os números de teste em OUTBOUND_ALLOWLIST ou use o simulador (`make run`).",
        )
    else:
        yield Finding("lista_de_teste", True, f"só {listed} números podem receber (OUTBOUND_ALLOWLIST)")


def _told_by_worker(now: datetime) -> tuple[bool, int] | None:
    """What the living worker knows of its providers and its list; this terminal's environment may be another."""
    newest = beats.newest("worker")
    if newest is None or newest.encerrado_em is not None or now - newest.beat_at > WORKER_SILENT:
        return None
    if "simulado" not in newest.detalhe:
        return None
    return bool(newest.detalhe["simulado"]), int(newest.detalhe.get("lista_de_teste", 0))


async def _all_simulated(urls: list[str]) -> bool:
    async with new_client(read_s=3.0) as client:
        proofs = [await is_simulator(client, url, settings.SIMULADOR_NONCE) for url in urls]
    return bool(proofs) and all(proof is True for proof in proofs)


def _chips(now: datetime) -> Iterable[Finding]:
    chips = fleet.load()
    rules = policy.read()
    active = [chip for chip in chips if chip.status == "active" and chip.tipo == "julia"]
    if not active:
        yield Finding("chips", False, f"nenhum dos {len(chips)} chips está em produção", "Ative ou cadastre um chip.")
    elif not any(chip.conectado for chip in active):
        yield Finding(
            "chips",
            False,
            f"nenhum dos {len(active)} chips em produção está conectado ao WhatsApp",
            "Reconecte um deles pelo QR code, em Chips.",
        )
    else:
        short = shortlist(chips, TipoMensagem.PROSPECCAO, peso=rules.policy.campaign_weight, now=now)
        yield _prospecting(short, len(active))


def _circuits(now: datetime) -> Iterable[Finding]:
    snapshot = circuits.snapshot()
    providers = sorted({chip.provider for chip in fleet.load() if chip.status == "active" and chip.tipo == "julia"})
    closed = [provider for provider in providers if snapshot.gate(of_provider(provider)) is circuits.Gate.CLOSED]
    for provider in closed:
        name = of_provider(provider)
        again = snapshot.retry_at(name)
        when = f"uma mensagem de teste sai às {_clock(again)}" if again else "foi aberto por uma pessoa"
        yield Finding(
            "circuitos",
            False if len(closed) == len(providers) else None,
            f"o circuito {spoken(name)} está aberto: nada sai por ele; {when}",
            "Veja o provedor. Se ele já voltou, feche o circuito em Circuitos, com motivo.",
        )
    for provider in providers:
        if (share := snapshot.share(of_provider(provider))) is not None:
            yield Finding(
                "circuitos",
                None,
                f"{spoken(of_provider(provider))} está lento: só {share} chamada(s) por vez até ele responder melhor",
                "Veja o servidor do provedor; os outros provedores seguem normalmente.",
            )
    if providers and not closed:
        yield Finding("circuitos", True, "nenhum circuito de provedor aberto")


def _prospecting(short: Shortlist, active: int) -> Finding:
    if short.eligible or short.only_busy:
        return Finding("chips", True, f"{len(short.eligible)} de {active} chips em produção podem enviar agora")
    reasons = sorted({reason for why in short.refused.values() for reason in why if reason not in MOMENTARY})
    return Finding(
        "chips",
        False,
        "nenhum chip pode levar campanhas agora: " + "; ".join(SENTENCES[reason] for reason in reasons),
        "Abra Chips: cada um mostra por que não pode enviar.",
    )


def _campaigns(now: datetime) -> Iterable[Finding]:
    found = rows(
        """SELECT c.id, c.nome_template AS nome, c.status,
               (SELECT count(*) FROM (SELECT 1 FROM fila_mensagens m WHERE m.campanha_id = c.id
                    AND m.status = 'pendente' LIMIT 1000) p) AS pendentes
           FROM campanhas c WHERE c.status IN ('ativa', 'pausada', 'agendada') ORDER BY c.id"""
    )
    active = [row for row in found if row["status"] == "ativa"]
    paused = [row for row in found if row["status"] == "pausada" and row["pendentes"]]
    if not any(row["pendentes"] for row in active) and paused:
        row = paused[0]
        yield Finding(
            "campanhas",
            False,
            f"a campanha {row['id']} ({row['nome']}) está pausada, com {row['pendentes']} mensagens à espera",
            f'Retome-a em Campanhas ou com `python manage.py campanha retomar {row["id"]} --motivo "…"`.',
        )
    elif not found:
        yield Finding("campanhas", None, "nenhuma campanha ativa, pausada ou agendada")
    else:
        yield Finding("campanhas", True, f"{len(active)} ativas, {len(paused)} pausadas")


def _hours(now: datetime) -> Iterable[Finding]:
    rules = policy.read()
    zones = [row["fuso"] for row in rows(_WAITING_ZONES)] or [BRASILIA.key]
    if any(_is_open(rules, zone, now) for zone in zones):
        yield Finding("horario", True, "dentro do horário de contato")
        return
    opening = min(hours.next_opening(rules.policy.window, rules.policy.holidays, now, ZoneInfo(zone)) for zone in zones)
    yield Finding(
        "horario",
        False,
        f"fora do horário de contato: campanhas esperam até {opening.astimezone(BRASILIA):%d/%m às %H:%M} (Brasília)",
        "Nada a fazer: elas saem sozinhas na abertura. Respostas a quem escreveu saem a qualquer hora.",
    )


_WAITING_ZONES = """
SELECT DISTINCT c.fuso FROM (SELECT cliente_id FROM fila_mensagens
    WHERE status = 'pendente' ORDER BY agendar_para LIMIT 200) m JOIN clientes c ON c.id = m.cliente_id
"""


def _is_open(rules: Rules, zone: str, now: datetime) -> bool:
    return hours.is_open(rules.policy.window, rules.policy.holidays, now, ZoneInfo(zone))


def _fila(now: datetime) -> Iterable[Finding]:
    row = rows(
        """SELECT (SELECT min(agendar_para) FROM fila_mensagens WHERE status = 'pendente') AS primeira,
               (SELECT count(*) FROM fila_mensagens WHERE status = 'incerta') AS incertas,
               (SELECT outcome_reason_code FROM fila_mensagens WHERE status = 'pendente'
                    AND outcome_reason_code IS NOT NULL ORDER BY agendar_para LIMIT 1) AS motivo"""
    )[0]
    if row["primeira"] is None:
        yield Finding("fila", None, "não há mensagem pendente: nada a enviar")
    elif row["primeira"] > now:
        why = f" (adiada por: {row['motivo']})" if row["motivo"] else ""
        yield Finding(
            "fila", None, f"a próxima mensagem é para {row['primeira'].astimezone(BRASILIA):%d/%m às %H:%M}{why}"
        )
    else:
        yield Finding("fila", True, "há mensagens vencidas para enviar")
    if row["incertas"]:
        yield Finding("incertas", None, f"{row['incertas']} mensagens com resultado desconhecido: não são reenviadas")


def _budget(now: datetime) -> Iterable[Finding]:
    rules = policy.read()
    left = global_left(rules.global_hour, rules.global_day)
    if left is None:
        yield Finding("limite_global", True, "sem limite global")
    elif left < rules.policy.campaign_weight:
        yield Finding(
            "limite_global",
            False,
            f"o limite global está gasto ({rules.global_hour} por hora, {rules.global_day} por dia; campanha pesa "
            f"{rules.policy.campaign_weight}): o que a Julia inicia espera",
            "Volta sozinho. Se o limite é baixo demais, mude limite_global_hora ou limite_global_dia em Ajustes.",
        )
    else:
        yield Finding("limite_global", True, f"restam {left} pontos do limite global")


CHECKS: tuple[Check, ...] = (
    _database, _environment, _roles, _switches, _allowlist, _circuits, _chips, _budget, _campaigns, _hours, _fila,
)  # fmt: skip


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(BRASILIA):%d/%m %H:%M:%S}"
