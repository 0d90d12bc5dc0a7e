"""What the environment must say before anything starts."""

from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

ENVIRONMENTS = ("dev", "test", "production")
PRODUCTION_SECRETS = (
    "DATABASE_URL",
    "SECRET_KEY",
    "JULIA_ENCRYPTION_KEYS",
    "ALLOWED_HOSTS",
    "EVOLUTION_API_URL",
    "EVOLUTION_API_KEY",
    "SUPABASE_PROJECT_REF",
    "JOBS_TOKEN",
)


def refuse_unsafe_environment(environment: Mapping[str, str]) -> None:
    """Raise ImproperlyConfigured with every fault named at once, or return."""
    app_env = environment.get("APP_ENV", "")
    if environment.get("DATABASE_URL") and not app_env:
        raise ImproperlyConfigured(
            "DATABASE_URL is set but APP_ENV is not. Say which environment this is: APP_ENV=dev, test or production."
        )
    if app_env and app_env not in ENVIRONMENTS:
        raise ImproperlyConfigured(f"APP_ENV={app_env!r} is not known. Use one of: {', '.join(ENVIRONMENTS)}.")
    if app_env == "production":
        missing = [name for name in PRODUCTION_SECRETS if not environment.get(name)]
        if missing:
            raise ImproperlyConfigured(
                "APP_ENV=production needs these variables, and they are missing: "
                + ", ".join(missing)
                + ". .env.example explains each of them."
            )
        if environment.get("SIMULADOR_NONCE"):
            raise ImproperlyConfigured("SIMULADOR_NONCE is set: the provider simulator cannot be used in production.")
