"""Who may log in, and the doctors of the file that comes with Julia."""

from datetime import datetime
from pathlib import Path

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User

import core.clientes
from core.clientes.models import Importacao
from core.clientes.services import importar
from core.rights import Role, sync_roles

CSV = Path(core.clientes.__file__).parent / "demo" / "medicos.csv"
PASSWORD = "julia-demo-2026"  # noqa: S105 (shown on screen; such logins exist only in the private database)
LOGINS = {
    "demo": Role.ADMINISTRACAO,
    "supervisao": Role.SUPERVISAO,
    "operacao": Role.OPERACAO,
    "leitura": Role.LEITURA,
}


def ensure_logins() -> None:
    """Those that exist already keep the password somebody may have given them."""
    missing = set(LOGINS) - set(User.objects.filter(username__in=LOGINS).values_list("username", flat=True))
    if not missing:
        return
    sync_roles()
    password = make_password(PASSWORD)
    for name in missing:
        user = User.objects.create(username=name, password=password, is_staff=True, first_name=name.capitalize())
        user.groups.set(Group.objects.filter(name=LOGINS[name].value))


def ensure_doctors(*, actor: str, now: datetime) -> Importacao:
    """The real import, once; its wrong rows stay in its report as they would for anybody."""
    done = Importacao.objects.filter(nome_arquivo=CSV.name, status=Importacao.Status.CONCLUIDA).defer("conteudo")
    if (before := done.order_by("id").first()) is not None:
        return before
    with CSV.open("rb") as stream:
        importar(stream, nome_arquivo=CSV.name, actor=actor, now=now)
    return done.latest("id")
