"""Usuários: a role per person instead of loose permissions; every change audited; nobody is deleted."""

from typing import Any

from django import forms
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget

from core import clock
from core.backoffice import audit, ui
from core.backoffice.admin import JuliaAdmin
from core.rights import Right, Role

_NO_ROLE = ("", "Sem papel: não vê nada")


def role_of(user: User) -> Role | None:
    """The highest of the user's roles; groups may be prefetched."""
    names = {group.name for group in user.groups.all()}
    return next((role for role in reversed(Role) if role.value in names), None)


class _RoleField(forms.ChoiceField):
    def __init__(self) -> None:
        super().__init__(
            label="Papel", choices=[_NO_ROLE, *Role.choices], required=False, widget=UnfoldAdminSelectWidget()
        )


class UserAddForm(UserCreationForm):
    papel = _RoleField()


class UserEditForm(UserChangeForm):
    papel = _RoleField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        role = role_of(self.instance)
        self.initial["papel"] = role.value if role else ""


class UsuarioAdmin(DjangoUserAdmin[User], JuliaAdmin[User]):
    form = UserEditForm
    add_form = UserAddForm
    change_password_form = AdminPasswordChangeForm

    view_right = Right.USUARIO_GERIR
    add_right = Right.USUARIO_GERIR
    change_right = Right.USUARIO_GERIR
    add_label = "Criar usuário"

    list_display = ("usuario", "nome", "papel_atual", "acesso", "entrou")
    list_filter = ()
    search_fields = ("username", "first_name", "last_name", "email")
    search_help_text = "Usuário, nome ou e-mail"
    ordering = ("username",)
    sortable_by = ()
    filter_horizontal = ()
    readonly_fields = ("senha",)
    fieldsets = (
        (None, {"fields": ("username", "senha")}),
        ("Pessoa", {"fields": ("first_name", "last_name", "email")}),
        ("Acesso", {"fields": ("papel", "is_active")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "password1", "password2", "papel")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Only a superuser touches a superuser: otherwise a password reset would be a way up."""
        allowed = super().has_change_permission(request, obj)
        return allowed and not (obj is not None and obj.is_superuser and not _is_superuser(request))

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:  # noqa: A002
        user = self.get_object(request, id)
        if user is not None and not self.has_change_permission(request, user):
            raise PermissionDenied
        response = super().user_change_password(request, id, form_url)
        if request.method == "POST" and user is not None and response.status_code == 302:
            audit.record(request, "senha_trocada", user)
        return response

    @display(description="Senha")
    def senha(self, obj: User) -> SafeString:
        url = reverse("admin:auth_user_password_change", args=[obj.pk])
        return format_html('<a class="jl-link" href="{}">Trocar a senha</a>', url)

    @display(description="Usuário")
    def usuario(self, obj: User) -> str:
        return obj.get_username()

    @display(description="Último acesso")
    def entrou(self, obj: User) -> SafeString:
        return ui.moment(obj.last_login, clock.now(), empty="nunca")

    @display(description="Nome")
    def nome(self, obj: User) -> str:
        return obj.get_full_name() or "—"

    @display(description="Papel")
    def papel_atual(self, obj: User) -> SafeString:
        if obj.is_superuser:
            return ui.badge("superusuário", ui.Tone.INFO)
        role = role_of(obj)
        return ui.badge(role.value, ui.Tone.NEUTRAL) if role else ui.badge("sem papel", ui.Tone.WARN)

    @display(description="Acesso")
    def acesso(self, obj: User) -> SafeString:
        return ui.badge("Ativo", ui.Tone.OK) if obj.is_active else ui.badge("Desativado", ui.Tone.NEUTRAL)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """The user, their one role, and the audit entry, in the page's transaction."""
        before = role_of(obj) if change else None
        obj.is_staff = True
        super().save_model(request, obj, form, change)
        chosen = form.cleaned_data.get("papel", "")
        obj.groups.set(Group.objects.filter(name=chosen) if chosen else [])
        detalhes = {
            "usuario": obj.get_username(),
            "papel": [before.value if before else "", chosen],
            "ativo": obj.is_active,
            "campos": [name for name in form.changed_data if not name.startswith("password")],
        }
        audit.record(request, "usuario_editado" if change else "usuario_criado", obj, detalhes=detalhes)

    def log_addition(self, request: HttpRequest, obj: User, message: Any) -> Any:
        return None  # the audit trail has it

    def log_change(self, request: HttpRequest, obj: User, message: Any) -> Any:
        return None


def _is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))
