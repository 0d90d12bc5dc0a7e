"""Doing something alone: a leased row in database time. A holder that dies loses it by the clock."""

from datetime import timedelta

from core.database import execute, rows


def take(name: str, owner: str, span: timedelta, *, renews: bool = True) -> bool:
    """One compare-and-set: the lease is ours until `span` from now, or somebody else's.

    `renews`: whoever holds it may lengthen it. Without, nobody may before it ran out: a gate that opens once a `span`.
    """
    return bool(
        rows(
            """INSERT INTO leases (name, owner, until) VALUES (%(name)s, %(owner)s, agora() + %(span)s)
               ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
               WHERE leases.until <= agora() OR (%(renews)s AND leases.owner = excluded.owner)
               RETURNING owner""",
            {"name": name, "owner": owner[:80], "span": span, "renews": renews},
        )
    )


def hold_until_later(name: str, owner: str, span: timedelta) -> None:
    """Nobody takes it within `span`, whoever holds it now."""
    execute(
        """INSERT INTO leases (name, owner, until) VALUES (%s, %s, agora() + %s)
           ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = greatest(leases.until, excluded.until)""",
        [name, owner[:80], span],
    )


def give_back(name: str, owner: str) -> bool:
    """Free at once; False when it was somebody else's by now."""
    return bool(execute("DELETE FROM leases WHERE name = %s AND owner = %s", [name, owner[:80]]))


def holder(name: str) -> str:
    """Who holds it now, or an empty string."""
    found = rows("SELECT owner FROM leases WHERE name = %s AND until > agora()", [name])
    return str(found[0]["owner"]) if found else ""
