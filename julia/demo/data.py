"""What the demonstration keeps in the database. Safe to load again: what is there stays as it is."""

from datetime import datetime

from django.db import transaction

from core import flags
from core.clientes.models import Importacao
from core.flags.services import set_setting
from julia.demo import fleet, people
from julia.demo.campaign import ACTOR
from julia.demo.guard import refuse_outside_embedded

MOTIVO = "demonstração: precisa andar a qualquer hora"
SETTINGS = {
    "janela_envio": {"inicio": "00:00", "fim": "24:00", "dias": [1, 2, 3, 4, 5, 6, 7]},
    "pacing_s": {"min": 2, "max": 4},
    "limite_global_hora": None,
    "limite_global_dia": None,
    "limite_diario_pessoa": 50,
    "contact_cap_7d": {"enabled": False},
    "demo": True,
}


def load(now: datetime) -> Importacao:
    """Logins, settings, chips and doctors. Settings only once: what an operator changes then is theirs.

    Returns the import of the doctors. Raises DemoRefused outside the private database.
    """
    refuse_outside_embedded()
    with transaction.atomic():
        people.ensure_logins()
        if not flags.get(flags.DEMO):
            for key, value in SETTINGS.items():
                set_setting(key, value, actor=ACTOR, motivo=MOTIVO, now=now)
        fleet.ensure(now)
        return people.ensure_doctors(actor=ACTOR, now=now)
