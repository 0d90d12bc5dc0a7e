"""The statements over `circuits` and `circuit_transitions`. Locks are taken by name, and circuits are locked last."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from core.circuits.bulkhead import Share
from core.circuits.config import key_of
from core.circuits.models import CircuitState, Forced
from core.circuits.transitions import CircuitFacts, Transition
from core.database import execute, rows

_FIELDS = [each.name for each in fields(CircuitFacts)]

# The partial index circuits_not_plain holds exactly these rows.
_NOT_PLAIN = """
SELECT clock.now AS agora, c.*
FROM (SELECT agora() AS now) clock
LEFT JOIN circuits c ON c.state <> 'closed' OR c.forced <> '' OR c.share IS NOT NULL
"""

_READ = """
SELECT clock.now AS agora, c.*
FROM (SELECT agora() AS now) clock LEFT JOIN circuits c ON c.name = ANY(%s)
"""

# The clock is read after each lock: no opening is dated before a call that it waited for.
_LOCK = """
WITH c AS MATERIALIZED (SELECT * FROM circuits WHERE name = ANY(%s) ORDER BY name FOR NO KEY UPDATE {waiting})
SELECT c.*, agora() AS agora,
       (SELECT jsonb_object_agg(key, value) FROM app_settings WHERE key = ANY(%s)) AS ajustes
FROM c
"""

# `transitions.acquire`, as one statement: whoever is second finds the row locked or the permit taken.
ACQUIRE = """
WITH due AS MATERIALIZED (
    SELECT name, state, round(extract(epoch FROM retry_at - last_failure_at))::int AS esperou FROM circuits
    WHERE name = ANY(%(names)s) AND forced = ''
        AND (state = 'open' AND retry_at <= agora()
             OR state = 'half_open' AND (permit_token IS NULL OR permit_until <= agora()))
    ORDER BY name FOR NO KEY UPDATE SKIP LOCKED),
wanted AS (
    SELECT * FROM unnest(%(names)s::text[], %(corrs)s::text[], %(causas)s::text[]) AS w(name, correlation_id, causa)),
taken AS (
    UPDATE circuits c SET state = 'half_open', permit_token = c.version + 1, permit_owner = left(%(owner)s, 80),
        permit_until = agora() + %(permit)s, version = c.version + 1, updated_at = agora()
    FROM due WHERE c.name = due.name
    RETURNING c.name, c.permit_token, c.failures, c.step, due.state AS was, due.esperou),
said AS (
    INSERT INTO circuit_transitions (circuit_name, from_state, to_state, reason, falhas_consecutivas,
        tentativas_half_open, correlation_id, causa)
    SELECT name, was, 'half_open', 'timeout_reset_' || coalesce(esperou, 0) || 's', failures, step,
        wanted.correlation_id, wanted.causa
    FROM taken JOIN wanted USING (name) WHERE was = 'open')
SELECT name, permit_token FROM taken
"""

_GIVE_BACK = """
UPDATE circuits c SET permit_token = NULL, permit_until = agora(), permit_owner = '', version = c.version + 1,
    updated_at = agora()
FROM unnest(%s::text[], %s::bigint[]) AS held(name, token)
WHERE c.name = held.name AND c.permit_token = held.token AND c.state = 'half_open'
"""

_STILL_PASSES = """
WITH held AS MATERIALIZED (
    SELECT name, forced = 'desligado' OR (forced = '' AND state = 'closed') AS passes
    FROM circuits WHERE name = ANY(%s) ORDER BY name FOR SHARE)
SELECT name FROM held WHERE NOT passes
"""

_WRITE = """
WITH changed AS (
    UPDATE circuits c SET state = n.state, forced = n.forced, failures = n.failures, failing_scopes = n.failing_scopes,
        step = n.step, generation = n.generation, opened_at = n.opened_at, retry_at = n.retry_at,
        permit_token = n.permit_token, permit_until = n.permit_until, permit_owner = n.permit_owner,
        last_failure_at = n.last_failure_at, last_success_at = n.last_success_at, last_error_kind = n.last_error_kind,
        version = c.version + 1, updated_at = agora()
    FROM jsonb_to_recordset(%s) AS n(name text, state text, forced text, failures int, failing_scopes text[], step int,
        generation bigint, opened_at timestamptz, retry_at timestamptz, permit_token bigint, permit_until timestamptz,
        permit_owner text, last_failure_at timestamptz, last_success_at timestamptz, last_error_kind text)
    WHERE c.name = n.name)
INSERT INTO circuit_transitions (circuit_name, from_state, to_state, reason, falhas_consecutivas, tentativas_half_open,
    created_at, correlation_id, causa)
SELECT name, from_state, to_state, reason, failures, step, at, correlation_id, left(cause, 80)
FROM jsonb_to_recordset(%s) AS t(name text, from_state text, to_state text, reason text, failures int, step int,
    at timestamptz, correlation_id text, cause text)
"""


@dataclass(frozen=True, slots=True)
class Locked:
    """Rows under lock, the instant after the last lock, and what `app_settings` holds for them."""

    facts: Mapping[str, CircuitFacts]
    now: datetime
    settings: Mapping[str, Any]


def not_plain() -> tuple[datetime, dict[str, CircuitFacts], dict[str, int]]:
    """Now, every circuit that is not simply closed, and the shares of slow ones. One statement."""
    found = rows(_NOT_PLAIN)
    present = [row for row in found if row["name"] is not None]
    shares = {row["name"]: int(row["share"]) for row in present if row["share"] is not None}
    return found[0]["agora"], {row["name"]: _facts(row) for row in present}, shares


def read(names: Collection[str]) -> tuple[datetime, dict[str, CircuitFacts]]:
    """Now and the rows that exist. One statement, without locks."""
    found = rows(_READ, [list(names)])
    return found[0]["agora"], {row["name"]: _facts(row) for row in found if row["name"] is not None}


def ensure(names: Collection[str]) -> int:
    """A closed circuit for each name that has no row."""
    return execute(
        "INSERT INTO circuits (name) SELECT unnest(%s::text[]) ON CONFLICT (name) DO NOTHING", [sorted(names)]
    )


def lock(names: Collection[str], *, waits: bool = True) -> Locked | None:
    """Locks the rows by name and reads them. None when there are none.

    `waits` false leaves out what somebody holds: good enough for a note that another can make in a moment.
    """
    found = rows(
        _LOCK.format(waiting="" if waits else "SKIP LOCKED"), [list(names), sorted({key_of(name) for name in names})]
    )
    if not found:
        return None
    return Locked(
        facts={row["name"]: _facts(row) for row in found},
        now=max(row["agora"] for row in found),
        settings=found[0]["ajustes"] or {},
    )


def write(changed: Sequence[CircuitFacts], transitions: Sequence[Transition]) -> None:
    """Rows that `lock` holds, and the transitions that changed them. One statement."""
    execute(_WRITE, [_as_json(changed), _as_json(transitions)])


def acquire(
    names: Collection[str], *, owner: str, permit: timedelta, causes: Mapping[str, tuple[str, str]]
) -> dict[str, int]:
    told = [causes.get(name, ("", "")) for name in names]
    found = rows(
        ACQUIRE,
        {
            "names": list(names),
            "corrs": [correlation_id for correlation_id, _ in told],
            "causas": [cause[:80] for _, cause in told],
            "owner": owner,
            "permit": permit,
        },
    )
    return {row["name"]: int(row["permit_token"]) for row in found}


def give_back(tokens: Mapping[str, int]) -> int:
    return execute(_GIVE_BACK, [list(tokens), list(tokens.values())])


def refusing(names: Collection[str]) -> frozenset[str]:
    """Those of `names` that do not simply let calls through; the rows stay locked `FOR SHARE`."""
    return frozenset(row["name"] for row in rows(_STILL_PASSES, [list(names)]))


def _facts(row: Mapping[str, Any]) -> CircuitFacts:
    values = {name: row[name] for name in _FIELDS}
    return CircuitFacts(
        **values
        | {
            "state": CircuitState(row["state"]),
            "forced": Forced(row["forced"]),
            "failing_scopes": tuple(row["failing_scopes"]),
        }
    )


def _as_json(found: Sequence[CircuitFacts] | Sequence[Transition]) -> str:
    return json.dumps([asdict(each) for each in found], default=datetime.isoformat)


def set_share(name: str, version: int, share: Share) -> bool:
    """Compare-and-set on the row's version; False when somebody changed the row since it was read."""
    return bool(
        execute(
            """UPDATE circuits SET share = %s, slow_since = %s, share_since = %s, version = version + 1,
               updated_at = agora() WHERE name = %s AND version = %s""",
            [share.senders, share.slow_since, share.since, name, version],
        )
    )
