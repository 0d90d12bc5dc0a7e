"""Does a doctor's message ask us to stop? Rules of high precision over plain Portuguese text; pure.

`plain_text` turns a message into clauses of plain words; `rules` finds the phrases; `judges` reads what follows the
phrase in its clause; `detection` weighs what was found. Doubt never ends in a final opt-out but in a pause or a
preference, of which a person is told.
"""

from fila.conversas.intents.choices import Detection, Intent
from fila.conversas.intents.detection import classify, detect

__all__ = ["Detection", "Intent", "classify", "detect"]
