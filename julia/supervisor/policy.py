"""How patiently a child is kept alive. Pure; times are seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """`settled_after_s`: a child that lived that long starts anew with the first pause.

    `stop_within_s` is what a role has to finish what is on the wire; `leftovers_within_s` what the
    others of a group have when their leader died.
    """

    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    settled_after_s: float = 60.0
    stop_within_s: float = 25.0
    leftovers_within_s: float = 5.0

    def next_pause(self, previous_s: float, lived_s: float) -> float:
        """How long to wait before the next start; `previous_s` is 0 after none."""
        if lived_s >= self.settled_after_s or previous_s <= 0:
            return self.first_pause_s
        return min(previous_s * 2, self.longest_pause_s)
