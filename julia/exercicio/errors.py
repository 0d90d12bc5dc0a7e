class DrillRefused(Exception):
    """A drill may not or cannot run here; the text is Portuguese and says what to do."""


class DrillStuck(Exception):
    """What the drill waited for did not come within its real time; the text says for what it waited."""
