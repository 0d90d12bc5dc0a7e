"""Ajustes: kill switches and limits, one form per setting, never without a motivo."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from core import clock
from core.audit.services import MotivoMissing
from core.backoffice import audit
from core.backoffice.admin import JuliaAdmin
from core.flags import registry, services
from core.flags.forms import SettingForm, spoken
from core.flags.models import AppSetting
from core.flags.registry import InvalidValue, Kind, Setting, UnknownSetting
from core.rights import Right, has_right, require

# Who these belong to is a question for whoever restored the database.
ENVIRONMENT_KEYS = frozenset({"environment", "supabase_project_ref", "envio_travado"})
HIDDEN = frozenset({"demo"})


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting as the page shows it. `holding`: in this position it keeps messages from leaving."""

    key: str
    description: str
    value: str
    is_switch: bool
    holding: bool
    unreadable: bool
    changed: bool
    row: AppSetting | None
    url: str = ""


def right_for(key: str) -> Right:
    return Right.AMBIENTE_CONFIRMAR if key in ENVIRONMENT_KEYS else Right.AJUSTE_ALTERAR


class AppSettingAdmin(JuliaAdmin[AppSetting]):
    def get_urls(self) -> list[URLPattern]:
        change = path("<slug:key>/mudar/", self.admin_site.admin_view(self.change_setting), name="core_appsetting_set")
        return [change, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        stored = {row.key: row for row in AppSetting.objects.all()}
        shown = [
            self._shown(request, setting, stored.get(setting.key))
            for setting in registry.declared()
            if setting.key not in HIDDEN
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": "Ajustes",
            "switches": [each for each in shown if each.is_switch],
            "others": [each for each in shown if not each.is_switch],
        }
        return TemplateResponse(request, "backoffice/ajustes.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:core_appsetting_changelist"))

    def _shown(self, request: HttpRequest, setting: Setting[Any], row: AppSetting | None) -> Shown:
        value = row.value if row else None
        try:
            value, unreadable = setting.validate(value), row is None
        except InvalidValue:
            unreadable = True
        is_switch = setting.kind is Kind.SWITCH
        may = has_right(request.user, right_for(setting.key))
        return Shown(
            key=setting.key,
            description=setting.description,
            value="Ilegível" if unreadable else spoken(setting, value),
            is_switch=is_switch,
            holding=is_switch and not unreadable and value is not setting.default,
            unreadable=unreadable,
            changed=not unreadable and value != setting.default,
            row=row,
            url=reverse("admin:core_appsetting_set", args=[setting.key]) if may else "",
        )

    def change_setting(self, request: HttpRequest, key: str) -> HttpResponse:
        """GET shows the form, POST stores. Raises PermissionDenied without the setting's right."""
        try:
            setting = registry.find(key)
        except UnknownSetting as unknown:
            raise Http404(str(unknown)) from unknown
        if key in HIDDEN:
            raise Http404
        require(request.user, right_for(key))
        row = AppSetting.objects.filter(pk=key).first()
        current = row.value if row else setting.default
        form = SettingForm(request.POST if request.method == "POST" else None, setting=setting, current=current)
        if request.method == "POST" and form.is_valid() and self._store(request, form):
            return HttpResponseRedirect(reverse("admin:core_appsetting_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Mudar {key}",
            "form": form,
            "setting": setting,
            "now_value": spoken(setting, current),
            "default_value": spoken(setting, setting.default),
            "back": reverse("admin:core_appsetting_changelist"),
        }
        return TemplateResponse(request, "backoffice/ajuste.html", context)

    def _store(self, request: HttpRequest, form: SettingForm) -> bool:
        answers = form.cleaned_data
        try:
            services.set_setting(
                form.setting.key,
                answers["value"],
                actor=request.user,
                motivo=answers["motivo"],
                now=clock.now(),
                ip=audit.ip_of(request),
            )
        except (InvalidValue, MotivoMissing) as refusal:
            form.add_error(None, str(refusal))
            return False
        self.message_user(
            request, f"{form.setting.key} mudou. Vale em até 5 segundos, sem reiniciar nada.", messages.SUCCESS
        )
        return True
