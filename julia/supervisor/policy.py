"""How patiently a child is kept alive. Pure; times are seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """`settled_after_s`: a child that lived that long starts anew with the first pause.

    `stop_within_s` is what a role has to finish what is on the wire; `leftovers_within_s` what the
    others of a group have when their leader died.

    `stuck_after_s`: the oldest that a sign of progress may be; `boot_within_s` until the first one. `waits_believed_s`:
    how long a child may say that it waits for a database which answers us.
    """

    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    settled_after_s: float = 60.0
    stop_within_s: float = 25.0
    leftovers_within_s: float = 5.0
    stuck_after_s: float = 60.0
    boot_within_s: float = 90.0
    waits_believed_s: float = 600.0

    @property
    def progress_every_s(self) -> float:
        """How often each part should show progress: six times within what is tolerated."""
        return self.stuck_after_s / 6

    @property
    def busy_believed_s(self) -> float:
        """A process in the middle of a task says so every half of `progress_every_s`; two signs may be lost."""
        return self.progress_every_s * 1.5

    @property
    def away_after_s(self) -> float:
        """A database that has not answered us for this long is away."""
        return self.stuck_after_s / 4

    def next_pause(self, previous_s: float, lived_s: float) -> float:
        """How long to wait before the next start; `previous_s` is 0 after none."""
        if lived_s >= self.settled_after_s or previous_s <= 0:
            return self.first_pause_s
        return min(previous_s * 2, self.longest_pause_s)
