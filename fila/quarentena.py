"""Poison: a message whose consumers die while they hold it, before anything of it is on the wire. Pure decisions.

A consumer that dies takes a whole batch with it, so one death accuses many. What tells the guilty one:

- only deaths in a row count: whatever was decided or attempted in between shows that a consumer survived the message;
- only one death per consumer counts, and none of a consumer that ended in order or still lives;
- a row that died twice comes back apart from its batch mates (`spread_s`), and only the one with strictly more deaths
  than every row it died with is quarantined: innocents pass, the guilty one goes on killing alone;
- where consumers die of something else too (a machine short of memory, `kill -9`), each death of one that was past the
  decision asks for one more death of the suspect.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

DIED = "lease_expirado"
SPREAD_S = 1.0


@dataclass(frozen=True, slots=True)
class Death:
    """One consumer's end. `juntas`: rows that it held undecided, this one included. `linha`: id of its event."""

    dono: str
    em: datetime
    lease_ate: datetime | None
    juntas: int
    linha: int = 0

    def as_json(self) -> dict[str, Any]:
        """What the timeline and the evidence keep."""
        lease = self.lease_ate.isoformat() if self.lease_ate else None
        return {"dono": self.dono, "em": self.em.isoformat(), "lease_ate": lease, "juntas": self.juntas}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a message's timeline."""

    id: int
    em: datetime
    motivo: str
    detalhes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Suspect:
    """`deaths` in a row, oldest first. `mates`: the most deaths of a row that died with it now, 0 when it was alone.
    `others`: consumers that died since its first death with nothing undecided in hand.
    """

    deaths: tuple[Death, ...]
    mates: int = 0
    others: int = 0


def is_poison(suspect: Suspect, limit: int) -> bool:
    count = len(suspect.deaths)
    return count >= limit + suspect.others and count > suspect.mates


def deaths_in_a_row(story: Iterable[Line], newest_attempt: datetime | None) -> tuple[Death, ...]:
    """The deaths at the end of a story whose newest line comes first; the oldest death first.

    Anything but a lease that ran out ends the row of deaths, and so does an attempt. A second one under the same
    consumer is no second death.
    """
    found: dict[str, Death] = {}
    for line in story:
        if line.motivo != DIED or (newest_attempt is not None and line.em < newest_attempt):
            break
        dono = str(line.detalhes.get("dono", ""))
        if dono and line.detalhes.get("morte") is True:
            lease = line.detalhes.get("lease_ate")
            lease_ate = datetime.fromisoformat(str(lease)) if lease else None
            found[dono] = Death(dono, line.em, lease_ate, int(line.detalhes.get("juntas", 1)), line.id)
    return tuple(sorted(found.values(), key=lambda death: death.em))


def spread_s(deaths: int, place: int) -> float:
    """Seconds until a returned row is due again: none after a first death, then apart from those that died with it."""
    return place * SPREAD_S * deaths if deaths > 1 else 0.0
