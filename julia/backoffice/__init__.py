"""The backoffice's name, colours and menu (django-unfold). Settings import this, so nothing here imports a model."""

from typing import Any

# A teal whose 600 carries white text (5.4:1) and whose 400 reads on dark.
_TEAL = {
    "50": "oklch(98.4% .014 180.72)",
    "100": "oklch(95.3% .051 180.801)",
    "200": "oklch(91% .096 180.426)",
    "300": "oklch(85.5% .138 181.071)",
    "400": "oklch(77.7% .152 181.912)",
    "500": "oklch(60% .118 184.704)",
    "600": "oklch(51.1% .096 186.391)",
    "700": "oklch(43.7% .078 188.216)",
    "800": "oklch(38.6% .063 188.416)",
    "900": "oklch(32% .053 190)",
    "950": "oklch(27.7% .046 192.524)",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Julia",
    "SITE_HEADER": "Julia",
    "SITE_SUBHEADER": "Operação de WhatsApp",
    "SITE_SYMBOL": "forum",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "julia.backoffice.context.favicon"}],
    "SITE_URL": None,
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "COLORS": {"primary": _TEAL},
    "ENVIRONMENT": "julia.backoffice.context.environment",
    "GLOBAL_CALLBACK": "julia.backoffice.context.everywhere",
    "DASHBOARD_CALLBACK": "julia.backoffice.dashboard.fill",
    "STYLES": ["julia.backoffice.context.stylesheet"],
    "SCRIPTS": ["julia.backoffice.context.script"],
    "SIDEBAR": {"navigation": "julia.backoffice.menu.navigation"},
}
