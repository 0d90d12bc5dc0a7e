"""Leases that ran out: what was claimed and never attempted goes back, what may be on the wire becomes `incerta`.

A row that goes on killing whoever takes it goes into quarantine with its evidence (`fila.quarentena` says when).
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from core import flags
from core.alerts.models import Severidade
from core.alerts.services import raise_alert
from core.clock import database_now
from core.database import execute, rows, wait_briefly_for_locks
from core.flags.declared import MORTES_PARA_QUARENTENA
from core.logging import get_logger
from core.outcomes import SendOutcome
from fila.choices import Evento, Status
from fila.quarentena import DIED, Death, Line, Suspect, deaths_in_a_row, is_poison, spread_s
from fila.returns import Event, record_events, to_dlq

log = get_logger("fila.rescue")

BATCH = 500
STORY = 40  # newest lines that are looked at for deaths in a row
LOOKED_BACK = 200_000  # newest events that are searched for other deaths
QUARANTINED = "mensagem_em_quarentena"
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Held:
    """A row whose lease ran out, locked. `tentativa` is its open attempt."""

    id: UUID
    tentativa: int | None
    dono: str
    lease_ate: datetime | None
    processando_desde: datetime | None
    prioridade: int
    agendar_para: datetime
    mortes: int
    campanha_id: int | None
    erro: str | None


def rescue_expired_leases() -> dict[str, int]:
    """One look. `devolvidas`: back to `pendente`. `incertas`: their attempt is unknown from now on.

    `quarentena`: ended as `erro`, because too many consumers died with them. A consumer that still lives and holds such
    a row writes its result later all the same: attempts only move forward.
    """
    with transaction.atomic():
        wait_briefly_for_locks()
        held = _locked_expired()
        died = _dead(held) if held else frozenset()
        unknown = [row for row in held if row.tentativa is not None]
        become_unknown(unknown, died=died)
        undecided = [row for row in held if row.tentativa is None]
        poison = _return(undecided, died, now=database_now()) if undecided else []
        stray = _close_stray_attempts()
    return {
        "devolvidas": len(undecided) - len(poison),
        "incertas": len(unknown),
        "tentativas_sem_dono": stray,
        "quarentena": len(poison),
    }


def _locked_expired() -> list[Held]:
    # fila_leases
    expired = rows(
        """SELECT id, campanha_id, cliente_id FROM fila_mensagens
           WHERE status = 'processando' AND (lease_ate < agora()
               OR (lease_ate IS NULL AND updated_at < agora() - interval '2 minutes')) LIMIT %s""",
        [BATCH],
    )
    if not expired:
        return []
    return held_rows(lock_reachable(expired), "coalesce(lease_ate, '-infinity') < agora()")


def held_rows(ids: Sequence[UUID], condition: str) -> list[Held]:
    """Those of `ids` that are still `processando` and fulfil the SQL `condition`, locked; others' rows are skipped."""
    found = rows(
        f"""SELECT id, tentativa_aberta_id AS tentativa, lease_owner AS dono, lease_ate, processando_desde, prioridade,
               agendar_para, mortes, campanha_id, erro FROM fila_mensagens
           WHERE id = ANY(%s) AND status = 'processando' AND {condition} ORDER BY id FOR UPDATE SKIP LOCKED""",  # noqa: S608 (constants of our own)
        [list(ids)],
    )
    return [Held(**row) for row in found]


def lock_reachable(found: Sequence[dict[str, Any]]) -> list[UUID]:
    """Ids of the rows whose campaign and person nobody else holds, both locked: one that is held slows no other.

    People without a state (raw SQL deleted it) are reachable too.
    """
    ids = sorted({row["campanha_id"] for row in found if row["campanha_id"] is not None})
    campaigns = {
        row["id"]
        for row in rows("SELECT id FROM campanhas WHERE id = ANY(%s) ORDER BY id FOR SHARE SKIP LOCKED", [ids])
    }
    people = sorted({row["cliente_id"] for row in found})
    reachable = {
        row["cliente_id"]
        for row in rows(
            """SELECT cliente_id FROM doctor_state WHERE cliente_id = ANY(%s) ORDER BY cliente_id
               FOR SHARE SKIP LOCKED""",
            [people],
        )
    }
    reachable |= {
        row["id"]
        for row in rows(
            """SELECT p.id FROM unnest(%s::uuid[]) AS p(id)
               WHERE NOT EXISTS (SELECT 1 FROM doctor_state d WHERE d.cliente_id = p.id)""",
            [people],
        )
    }
    return [
        row["id"]
        for row in found
        if row["cliente_id"] in reachable and (row["campanha_id"] is None or row["campanha_id"] in campaigns)
    ]


def _dead(held: Iterable[Held]) -> frozenset[str]:
    """Consumers whose leases ran out and who neither ended in order nor gave a sign of life near the lease's end."""
    claimed = [row for row in held if row.dono and row.lease_ate is not None]
    newest = {row.dono: row for row in sorted(claimed, key=lambda row: row.lease_ate or LONG_AGO)}
    beats = {
        row["instancia"]: row
        for row in rows(
            "SELECT instancia, beat_at, encerrado_em FROM role_beats WHERE instancia = ANY(%s)", [list(newest)]
        )
    }
    return frozenset(dono for dono, row in newest.items() if not _lives(row, beats.get(dono)))


def _lives(row: Held, beat: dict[str, Any] | None) -> bool:
    """A consumer that hangs stops beating well within the first half of a lease; one that lives beats in its last."""
    if beat is None or row.lease_ate is None:
        return False
    if beat["encerrado_em"] is not None:
        return True
    last_quarter = (row.lease_ate - (row.processando_desde or row.lease_ate)) / 4
    return bool(beat["beat_at"] > row.lease_ate - last_quarter)


def become_unknown(held: Sequence[Held], *, died: Collection[str] = (), motivo: str = DIED) -> None:
    """Their open attempts may have left: rows become `incerta`, attempts unknown. The caller holds the rows."""
    if not held:
        return
    ids = [row.id for row in held]
    execute(
        """UPDATE fila_mensagens SET status = 'incerta', lease_ate = NULL, lease_owner = '',
               outcome_reason_code = %s, erro = 'o processo que enviava parou antes do resultado'
           WHERE id = ANY(%s)""",
        [motivo, ids],
    )
    execute(
        """UPDATE envios_tentativas SET resultado = 'desconhecido', encerrado_em = agora(), codigo = %s,
               regra = 'nos.lease_expirado', error_kind = 'desconhecido'
           WHERE id = ANY(%s) AND resultado = 'iniciado'""",
        [motivo, [row.tentativa for row in held]],
    )
    record_events(
        [
            Event(row.id, Evento.INCERTA, None, motivo, detalhes={"dono": row.dono, "morte": row.dono in died})
            for row in held
        ]
    )


def _return(undecided: Sequence[Held], died: frozenset[str], *, now: datetime) -> list[Held]:
    """Back to `pendente`, deaths counted; those that are poison end instead and are returned."""
    together = Counter(row.dono for row in undecided)
    now_dead = {
        row.id: Death(row.dono, now, row.lease_ate, together[row.dono]) for row in undecided if row.dono in died
    }
    runs = _runs([row for row in undecided if row.mortes > 0], now_dead)
    runs |= {row_id: (death,) for row_id, death in now_dead.items() if row_id not in runs}
    poison = _poison(undecided, runs)
    _quarantine([(row, suspect) for row, suspect in poison])
    ended = {row.id for row, _suspect in poison}
    _go_back([row for row in undecided if row.id not in ended], runs, now_dead)
    return [row for row, _suspect in poison]


def _runs(seen_before: Sequence[Held], now_dead: dict[UUID, Death]) -> dict[UUID, tuple[Death, ...]]:
    """The deaths in a row of rows that have died before, the one of now included."""
    if not seen_before:
        return {}
    ids = [row.id for row in seen_before]
    stories: dict[UUID, list[Line]] = {row_id: [] for row_id in ids}
    # fila_eventos_timeline
    for row in rows(
        """SELECT e.id, e.mensagem_id, e.em, e.motivo, e.detalhes FROM unnest(%s::uuid[]) AS m(id),
               LATERAL (SELECT * FROM fila_eventos x WHERE x.mensagem_id = m.id ORDER BY x.em DESC, x.id DESC
                        LIMIT %s) e
           ORDER BY e.mensagem_id, e.em DESC, e.id DESC""",
        [ids, STORY],
    ):
        stories[row["mensagem_id"]].append(Line(row["id"], row["em"], row["motivo"], row["detalhes"]))
    attempts = {
        row["origem_id"]: row["em"]
        for row in rows(
            """SELECT origem_id, max(iniciado_em) AS em FROM envios_tentativas
               WHERE origem = 'fila' AND origem_id = ANY(%s) GROUP BY origem_id""",
            [ids],
        )
    }
    found: dict[UUID, tuple[Death, ...]] = {}
    for row_id in ids:
        before = deaths_in_a_row(stories[row_id], attempts.get(row_id))
        death = now_dead.get(row_id)
        again = death is None or death.dono in {one.dono for one in before}
        found[row_id] = before if again or death is None else (*before, death)
    return found


def _poison(undecided: Sequence[Held], runs: dict[UUID, tuple[Death, ...]]) -> list[tuple[Held, Suspect]]:
    candidates = [row for row in undecided if len(runs.get(row.id, ())) > 1]
    if not candidates:
        return []
    limit = flags.get(MORTES_PARA_QUARENTENA)
    found: list[tuple[Held, Suspect]] = []
    for row in candidates:
        deaths = runs[row.id]
        if len(deaths) < limit:
            continue
        mates = [len(runs.get(mate.id, ())) for mate in undecided if mate.dono == row.dono and mate.id != row.id]
        suspect = Suspect(deaths, max(mates, default=0), _other_deaths(deaths))
        if is_poison(suspect, limit):
            found.append((row, suspect))
    return found


def _other_deaths(deaths: Sequence[Death]) -> int:
    """Consumers that died since the first of `deaths`, of something else: nothing was undecided in their hands."""
    newest = int(rows("SELECT coalesce(max(id), 0) AS id FROM fila_eventos")[0]["id"])
    found = rows(
        """SELECT count(*) AS n FROM (
               SELECT 1 FROM fila_eventos WHERE id > %s AND (motivo = %s OR motivo LIKE 'quarentena:%%')
                   AND detalhes->>'morte' = 'true' AND NOT detalhes->>'dono' = ANY(%s)
               GROUP BY detalhes->>'dono' HAVING bool_and(tipo = 'incerta')) donos""",
        [max(deaths[0].linha, newest - LOOKED_BACK), DIED, [death.dono for death in deaths]],
    )
    return int(found[0]["n"])


def _quarantine(poison: Sequence[tuple[Held, Suspect]]) -> None:
    """`erro` / FAILED_TIMEOUT (its consumers never came back), the evidence in the DLQ, and an alert for each."""
    for row, suspect in poison:
        count = len(suspect.deaths)
        motivo = f"quarentena:{count}_mortes"
        execute(
            """UPDATE fila_mensagens SET status = 'erro', outcome = 'FAILED_TIMEOUT', outcome_reason_code = %s,
                   outcome_at = agora(), mortes = %s, erro = %s, lease_ate = NULL, lease_owner = ''
               WHERE id = %s""",
            [motivo, count, f"{count} workers seguidos morreram com esta mensagem na mão", row.id],
        )
        evidence = {
            "mortes": [death.as_json() for death in suspect.deaths],
            "outras_mortes": suspect.others,
            "ultimo_erro": row.erro or "",
        }
        to_dlq([row.id])
        execute(
            "UPDATE fila_mensagens_dlq SET quarentena = true, evidencia = %s WHERE mensagem_original_id = %s",
            [json.dumps(evidence), row.id],
        )
        told = {"dono": row.dono, "morte": True, "mortes": count}
        record_events([Event(row.id, Evento.FALHA, SendOutcome.FAILED_TIMEOUT, motivo, detalhes=told)])
        raise_alert(
            QUARANTINED,
            f"mensagem:{row.id}",
            severidade=Severidade.ERROR,
            titulo=f"Mensagem {str(row.id)[:8]} em quarentena",
            mensagem=f"{count} workers seguidos morreram com ela na mão, antes de enviar. Ela saiu da fila e as "
            "evidências estão em Falhas definitivas. Veja o texto e o cadastro do médico, corrija a causa e só então "
            "reprocesse.",
            contexto={"mensagem_id": str(row.id), "campanha_id": row.campanha_id, **evidence},
        )
        log.error("mensagem em quarentena", mensagem_id=str(row.id), mortes=count)


def _go_back(held: Sequence[Held], runs: dict[UUID, tuple[Death, ...]], now_dead: dict[UUID, Death]) -> None:
    """To `pendente`, in its place; a second death in a row sets a row apart from those that died with it."""
    if not held:
        return
    counts = {row.id: len(runs[row.id]) if row.id in runs else row.mortes for row in held}
    places: Counter[str] = Counter()
    wait: dict[UUID, float] = {}
    for row in sorted(held, key=lambda row: (-row.prioridade, row.agendar_para, row.id)):
        if row.id in now_dead and counts[row.id] > 1:
            wait[row.id] = spread_s(counts[row.id], places[row.dono])
            places[row.dono] += 1
    became = rows(
        """UPDATE fila_mensagens m SET status = 'pendente', processando_desde = NULL, lease_ate = NULL,
               lease_owner = '', mortes = v.mortes,
               agendar_para = CASE WHEN v.espera > 0
                   THEN greatest(m.agendar_para, agora() + v.espera * interval '1 second') ELSE m.agendar_para END
           FROM unnest(%s::uuid[], %s::int[], %s::float[]) AS v(id, mortes, espera) WHERE m.id = v.id
           RETURNING m.id, m.status""",
        [
            [row.id for row in held],
            [counts[row.id] for row in held],
            [wait.get(row.id, 0.0) for row in held],
        ],
    )
    status = {row["id"]: row["status"] for row in became}
    record_events([returned(row, status[row.id], now_dead.get(row.id)) for row in held])


_ENDED = {
    Status.CANCELADA: (Evento.CANCELADA, None, "campanha_cancelada"),
    Status.BLOQUEADA: (Evento.BLOQUEADA, SendOutcome.BLOCKED_OPTED_OUT, "opted_out"),
}


def returned(row: Held, status: str, death: Death | None = None, *, motivo: str = DIED) -> Event:
    """The line about a row that was put back; what the trigger made of it instead, where campaign or person say so."""
    if status in _ENDED:
        tipo, outcome, reason = _ENDED[Status(status)]
        return Event(row.id, tipo, outcome, reason)
    told = {"morte": True, **death.as_json()} if death else {"dono": row.dono, "morte": False}
    return Event(row.id, Evento.RETOMADA, None, motivo, detalhes=told)


def _close_stray_attempts() -> int:
    """Attempts still open whose row was moved by hand (raw SQL): after the wire deadline nobody will settle them."""
    return execute(
        """UPDATE envios_tentativas t SET resultado = 'desconhecido', encerrado_em = agora(), codigo = 'sem_dono',
               regra = 'nos.sem_dono',
               error_kind = 'desconhecido'
           WHERE t.resultado = 'iniciado' AND t.origem = 'fila' AND t.iniciado_em < agora() - interval '150 seconds'
               AND NOT EXISTS (SELECT 1 FROM fila_mensagens m WHERE m.id = t.origem_id
                   AND m.status = 'processando' AND m.lease_ate > agora())"""
    )
