"""Registers the pages that need every app, and hides those of libraries that operators do not use."""

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.urls import path

from core.models import Cliente
from julia.backoffice import diagnostico, rastro
from julia.backoffice.medicos import MedicoAdmin
from julia.backoffice.usuarios import UsuarioAdmin

_LIBRARIES = ("axes", "django_q", "pghistory")

admin.site.unregister([User, Group])
admin.site.register(User, UsuarioAdmin)
admin.site.register(Cliente, MedicoAdmin)
for label in _LIBRARIES:
    for model in apps.get_app_config(label).get_models():
        if admin.site.is_registered(model):
            admin.site.unregister(model)

# django-unfold's hook for pages that belong to no model.
admin.site.extra_urls = lambda: [  # type: ignore[attr-defined]
    path("diagnostico/", admin.site.admin_view(diagnostico.view), name="diagnostico"),
    path("rastro/", admin.site.admin_view(rastro.view), name="rastro"),
]
