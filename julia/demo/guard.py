"""Where the demonstration may exist: in the private database of this clone, nowhere else."""

import os

from django.conf import settings

from julia.embedded import is_embedded


class DemoRefused(Exception):
    """The text says why, and what to do."""


def refuse_outside_embedded() -> None:
    """Raises DemoRefused."""
    if settings.PRODUCTION:
        raise DemoRefused("A demonstração não existe em produção (APP_ENV=production).")
    if not is_embedded(os.environ.get("DATABASE_URL", "")):
        raise DemoRefused(
            "A demonstração só existe no banco embutido, e DATABASE_URL aponta para outro. Tire DATABASE_URL do "
            "ambiente e do arquivo .env, ou rode sem demonstração: python manage.py servir --papel tudo"
        )
