"""Registers the pages of `core`. Médicos are registered by `julia`, which knows their messages."""

from django.contrib import admin

from core.audit.admin import AuditAdmin
from core.clientes.importacao_admin import ImportacaoAdmin
from core.flags.admin import AppSettingAdmin
from core.jobs.admin import JobExecutionAdmin
from core.models import AppSetting, AuditEntry, Importacao, JobExecution

admin.site.register(AuditEntry, AuditAdmin)
admin.site.register(AppSetting, AppSettingAdmin)
admin.site.register(Importacao, ImportacaoAdmin)
admin.site.register(JobExecution, JobExecutionAdmin)
