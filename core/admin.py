"""Registers the pages of `core`. Médicos are registered by `julia`, which knows their messages."""

from django.contrib import admin

from core.alerts.admin import AlertaAdmin
from core.audit.admin import AuditAdmin
from core.circuits.admin import CircuitAdmin, CircuitTransitionAdmin
from core.clientes.importacao_admin import ImportacaoAdmin
from core.flags.admin import AppSettingAdmin
from core.jobs.admin import JobExecutionAdmin
from core.models import Alerta, AppSetting, AuditEntry, Circuit, CircuitTransition, Importacao, JobExecution

admin.site.register(Alerta, AlertaAdmin)
admin.site.register(AuditEntry, AuditAdmin)
admin.site.register(AppSetting, AppSettingAdmin)
admin.site.register(Circuit, CircuitAdmin)
admin.site.register(CircuitTransition, CircuitTransitionAdmin)
admin.site.register(Importacao, ImportacaoAdmin)
admin.site.register(JobExecution, JobExecutionAdmin)
