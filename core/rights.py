"""Who may do what: one right per action, four roles that each include the one before.

Rights are ordinary Django permissions (`core.<right>`), so that `user.has_perm` and superusers work as everywhere;
roles are groups. What a role may do is decided here and nowhere else.
"""

from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.db import models

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser


class Right(models.TextChoices):
    VER = "ver", "Ver as páginas do backoffice"

    TELEFONE_REVELAR = "telefone_revelar", "Revelar um telefone (fica na auditoria)"
    MEDICO_EDITAR = "medico_editar", "Editar o cadastro de médicos"
    OPT_OUT_REGISTRAR = "opt_out_registrar", "Registrar que um médico pediu para sair"
    IMPORTAR = "importar", "Importar médicos e baixar linhas recusadas"
    CAMPANHA_EDITAR = "campanha_editar", "Criar, editar e duplicar campanhas"
    CAMPANHA_TESTAR = "campanha_testar", "Enviar o teste de uma campanha a um número"
    CAMPANHA_INICIAR = "campanha_iniciar", "Iniciar e retomar campanhas"
    CAMPANHA_PARAR = "campanha_parar", "Pausar e cancelar campanhas"
    FILA_CANCELAR = "fila_cancelar", "Cancelar mensagens pendentes"
    CHIP_BLOQUEAR = "chip_bloquear", "Bloquear um chip"
    JOB_EXECUTAR = "job_executar", "Executar um job agora"
    ALERTA_RECONHECER = "alerta_reconhecer", "Assumir e encerrar um alerta"
    ALERTA_SILENCIAR = "alerta_silenciar", "Silenciar um alerta por até um dia"

    FILA_REPROCESSAR = "fila_reprocessar", "Reprocessar falhas e resolver mensagens incertas"
    MEDICO_DESBLOQUEAR = "medico_desbloquear", "Tirar um médico da pausa de contato"
    CHIP_DESBLOQUEAR = "chip_desbloquear", "Desbloquear um chip"
    CHIP_LIMITES = "chip_limites", "Mudar limites e permissões de um chip"
    BYPASS = "bypass", "Enviar apesar de uma regra, com motivo"
    AJUSTE_ALTERAR = "ajuste_alterar", "Mudar ajustes e chaves de segurança"
    CIRCUITO_OPERAR = "circuito_operar", "Abrir, fechar ou desligar um circuito"
    FERIADO_EDITAR = "feriado_editar", "Cadastrar feriados"
    AUDITORIA_VER = "auditoria_ver", "Ver a auditoria"

    CHIP_CADASTRAR = "chip_cadastrar", "Cadastrar chips e trocar credenciais"
    AMBIENTE_CONFIRMAR = "ambiente_confirmar", "Confirmar o ambiente depois de uma restauração"
    USUARIO_GERIR = "usuario_gerir", "Criar usuários e dar papéis"


class Role(models.TextChoices):
    """The value is the group's name."""

    LEITURA = "leitura", "Leitura: vê tudo, não muda nada"
    OPERACAO = "operação", "Operação: campanhas, importações, paradas de emergência"
    SUPERVISAO = "supervisão", "Supervisão: liberações, desbloqueios, limites e chaves"
    ADMINISTRACAO = "administração", "Administração: chips, credenciais e usuários, além de tudo o mais"


_ADDED: dict[Role, tuple[Right, ...]] = {
    Role.LEITURA: (Right.VER,),
    Role.OPERACAO: (
        Right.TELEFONE_REVELAR,
        Right.MEDICO_EDITAR,
        Right.OPT_OUT_REGISTRAR,
        Right.IMPORTAR,
        Right.CAMPANHA_EDITAR,
        Right.CAMPANHA_TESTAR,
        Right.CAMPANHA_INICIAR,
        Right.CAMPANHA_PARAR,
        Right.FILA_CANCELAR,
        Right.CHIP_BLOQUEAR,
        Right.JOB_EXECUTAR,
        Right.ALERTA_RECONHECER,
        Right.ALERTA_SILENCIAR,
    ),
    Role.SUPERVISAO: (
        Right.FILA_REPROCESSAR,
        Right.MEDICO_DESBLOQUEAR,
        Right.CHIP_DESBLOQUEAR,
        Right.CHIP_LIMITES,
        Right.BYPASS,
        Right.AJUSTE_ALTERAR,
        Right.CIRCUITO_OPERAR,
        Right.FERIADO_EDITAR,
        Right.AUDITORIA_VER,
    ),
    Role.ADMINISTRACAO: (Right.CHIP_CADASTRAR, Right.AMBIENTE_CONFIRMAR, Right.USUARIO_GERIR),
}


def rights_of(role: Role) -> frozenset[Right]:
    """Its own rights and those of the roles before it."""
    roles = list(Role)
    return frozenset(right for each in roles[: roles.index(role) + 1] for right in _ADDED[each])


def has_right(user: "AbstractUser | AnonymousUser", right: Right) -> bool:
    """False for an anonymous or inactive user; True for an active superuser."""
    return user.has_perm(f"core.{right.value}")


def require(user: "AbstractUser | AnonymousUser", right: Right) -> None:
    """Raises PermissionDenied."""
    if not has_right(user, right):
        raise PermissionDenied(f"falta o direito: {right.label}")


def sync_roles(**_signal: Any) -> None:
    """Permissions and groups as declared above: safe to repeat, and undoes whatever was changed by hand in them.

    A receiver of `post_migrate` (sender `core`).
    """
    from django.contrib.auth.models import Group, Permission
    from django.contrib.contenttypes.models import ContentType

    from core.flags.models import AppSetting

    anchor = ContentType.objects.get_for_model(AppSetting)
    permissions = {
        right: Permission.objects.update_or_create(
            content_type=anchor, codename=right.value, defaults={"name": right.label}
        )[0]
        for right in Right
    }
    for role in Role:
        group, _created = Group.objects.get_or_create(name=role.value)
        group.permissions.set(permissions[right] for right in rights_of(role))
