"""Settings: the environment is read here and nowhere else. What operators change at run time is in `app_settings`."""

import base64
import hashlib
import os
from pathlib import Path

import django_stubs_ext
import environ

from julia.requirements import refuse_unsafe_environment

django_stubs_ext.monkeypatch()  # generic Django classes can be subscripted at run time too

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

APP_ENV = env.str("APP_ENV", default="")
PRODUCTION = APP_ENV == "production"
refuse_unsafe_environment(os.environ)

SECRET_KEY = env.str("SECRET_KEY", default="dev-only-" + hashlib.sha256(str(BASE_DIR).encode()).hexdigest())
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

_dev_key = base64.urlsafe_b64encode(hashlib.sha256(SECRET_KEY.encode()).digest()).decode()
ENCRYPTION_KEYS = env.list("JULIA_ENCRYPTION_KEYS", default=[_dev_key])

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "axes",
    "django_q",
    "pgtrigger",
    "pghistory",
    "rest_framework",
    "drf_spectacular",
    "core",
    "chips",
    "guardrails",
    "fila",
    "warmer",
    "julia",
]

MIDDLEWARE = [
    "core.correlation.CorrelationMiddleware",
    "core.metrics.http.MetricsMiddleware",
    "core.logging.AccessLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "julia.urls"
WSGI_APPLICATION = "julia.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": env.db("DATABASE_URL", default="postgresql:///julia")}
DATABASES["default"]["CONN_MAX_AGE"] = 60
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"].setdefault("OPTIONS", {}).update(
    application_name="julia",
    # A server that vanished without a word is noticed in seconds, not after two hours of TCP keepalive.
    connect_timeout=5,
    keepalives_idle=10,
    keepalives_interval=5,
    keepalives_count=3,
    tcp_user_timeout=20_000,
)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default="")
CACHES = {
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
        if REDIS_URL
        else {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache"}
    )
}

# retry 360 s > timeout 300 s and one attempt: a lost tick is harmless, and running a job twice is not for the broker.
Q_CLUSTER = {
    "name": "julia",  # the salt of every task: all clusters must share it
    "cluster_name": env.str("Q_CLUSTER_NAME", default="critico"),
    "workers": env.int("Q_WORKERS", default=2),
    "timeout": 300,
    "retry": 360,
    "max_attempts": 1,
    "ack_failures": True,
    "catch_up": False,
    "poll": 0.5,
    "save_limit": 250,
    "label": "Tarefas",
    "time_zone": "America/Sao_Paulo",
    "broker_class": "core.jobs.brokers.RedisBroker" if REDIS_URL else "core.jobs.brokers.OrmBroker",
    **({"redis": REDIS_URL} if REDIS_URL else {"orm": "default"}),
}

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_ENABLED = env.bool("AXES_ENABLED", default=True)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = "pt-br"
TIME_ZONE = "America/Sao_Paulo"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / ".julia" / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not PRODUCTION
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
FILE_UPLOAD_MAX_MEMORY_SIZE = 2_500_000

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {"TITLE": "Julia", "VERSION": "0.1.0", "SERVE_INCLUDE_SCHEMA": False}

# Cookies and headers of production; a developer's machine has no TLS.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=PRODUCTION)
SECURE_REDIRECT_EXEMPT = [r"^health", r"^metrics", r"^circuits/", r"^webhooks?/"]
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", default=False) else None
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"

# Julia's own
RUN_MODE = env.str("RUN_MODE", default="")
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.str("PORT", default="8000")
EVOLUTION_API_URL = env.str("EVOLUTION_API_URL", default="")
EVOLUTION_API_KEY = env.str("EVOLUTION_API_KEY", default="")
ZAPI_BASE_URL = env.str("ZAPI_BASE_URL", default="https://api.z-api.io")
OUTBOUND_ALLOWLIST = env.list("OUTBOUND_ALLOWLIST", default=[])
SUPABASE_PROJECT_REF = env.str("SUPABASE_PROJECT_REF", default="")
SIMULADOR_NONCE = env.str("SIMULADOR_NONCE", default="")
JOBS_TOKEN = env.str("JOBS_TOKEN", default="")
HEALTH_TOKEN = env.str("HEALTH_TOKEN", default="")
WEBHOOK_SECRETS = env.list("WEBHOOK_SECRETS", default=[])
SLACK_WEBHOOK_URL = env.str("SLACK_WEBHOOK_URL", default="")
DEADMAN_URL = env.str("DEADMAN_URL", default="")
PUBLIC_URL = env.str("PUBLIC_URL", default=f"http://127.0.0.1:{PORT}")
PAPEIS_ESPERADOS = env.list("PAPEIS_ESPERADOS", default=["api", "scheduler", "worker"])
FILA_LEASE_S = env.int("FILA_LEASE_S", default=120)
FILA_SENDERS = env.int("FILA_SENDERS", default=64)
METRICS_FLUSH_EVERY_S = env.float("METRICS_FLUSH_EVERY_S", default=0.0 if APP_ENV == "test" else 5.0)
DEMO = env.bool("JULIA_DEMO", default=False)
VERSION = {  # set by the platform; shown by /health/deep
    "git_sha": env.str("RAILWAY_GIT_COMMIT_SHA", default="")[:8],
    "deployment_id": env.str("RAILWAY_DEPLOYMENT_ID", default="")[:8],
    "railway_environment": env.str("RAILWAY_ENVIRONMENT", default=""),
}
SENTRY_DSN = env.str("SENTRY_DSN", default="")
LOG_FORMAT = env.str("LOG_FORMAT", default="json" if PRODUCTION else "console")
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOG_FILE = env.str("LOG_FILE", default="" if APP_ENV == "test" else str(BASE_DIR / ".julia" / "log" / "julia.log"))

from core.logging import configure_logging, configure_sentry, logging_config  # noqa: E402  (needs the values above)

LOGGING_CONFIG = None
LOGGING = logging_config(LOG_FORMAT, LOG_LEVEL, LOG_FILE)
configure_logging(LOGGING)
configure_sentry(SENTRY_DSN, APP_ENV)

from julia.backoffice import UNFOLD  # noqa: E402, F401  (menu and colours of the backoffice)
