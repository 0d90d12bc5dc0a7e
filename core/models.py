"""Re-exports: Django looks for an app's models here."""

from core.audit.models import AuditEntry
from core.clientes.models import Cliente, ClienteJid, Importacao, ImportacaoRejeitada
from core.flags.models import AppSetting
from core.health.models import RoleBeat
from core.jobs.models import JobExecution, JobSlot

__all__ = [
    "AppSetting",
    "AuditEntry",
    "Cliente",
    "ClienteJid",
    "Importacao",
    "ImportacaoRejeitada",
    "JobExecution",
    "JobSlot",
    "RoleBeat",
]
