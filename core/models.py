"""Re-exports: Django looks for an app's models here."""

from core.alerts.models import Alerta, Aviso, Entrega, Estado, Lease, Silencio
from core.audit.models import AuditEntry
from core.circuits.models import Circuit, CircuitTransition
from core.clientes.models import Cliente, ClienteJid, Importacao, ImportacaoRejeitada
from core.flags.models import AppSetting
from core.health.models import RoleBeat
from core.jobs.models import JobExecution, JobSlot
from core.metrics.models import MetricCounter, MetricsSnapshot

__all__ = [
    "Alerta",
    "AppSetting",
    "AuditEntry",
    "Aviso",
    "Circuit",
    "CircuitTransition",
    "Cliente",
    "ClienteJid",
    "Entrega",
    "Estado",
    "Importacao",
    "ImportacaoRejeitada",
    "JobExecution",
    "JobSlot",
    "Lease",
    "MetricCounter",
    "MetricsSnapshot",
    "RoleBeat",
    "Silencio",
]
