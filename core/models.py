"""Re-exports: Django looks for an app's models here."""

from core.alerts.models import Alerta
from core.audit.models import AuditEntry
from core.circuits.models import Circuit, CircuitTransition
from core.clientes.models import Cliente, ClienteJid, Importacao, ImportacaoRejeitada
from core.flags.models import AppSetting
from core.health.models import RoleBeat
from core.jobs.models import JobExecution, JobSlot

__all__ = [
    "Alerta",
    "AppSetting",
    "AuditEntry",
    "Circuit",
    "CircuitTransition",
    "Cliente",
    "ClienteJid",
    "Importacao",
    "ImportacaoRejeitada",
    "JobExecution",
    "JobSlot",
    "RoleBeat",
]
