"""The base of every admin page of ours.

Rights (`core.rights`) replace Django's per-model permissions: a page asks for one right, each act for its own, and the
server asks again when the button is pressed. Nothing is added, changed or deleted unless a subclass says so.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import SimpleTemplateResponse, TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from core.backoffice.acts import Act, Button
from core.backoffice.paginator import CappedPaginator
from core.backoffice.timeouts import TooSlow, statement_timeout
from core.rights import Right, has_right, require

M = TypeVar("M", bound=Model)


class PreparedChangeList(ChangeList):
    """Lets the admin look at a whole page of rows at once: one statement per page instead of one per row."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count  # never counted apart
        page = list(self.result_list)
        self.model_admin.prepare(request, page)
        self.result_list = page


class JuliaAdmin(ModelAdmin, Generic[M]):
    view_right: ClassVar[Right] = Right.VER
    add_right: ClassVar[Right | None] = None
    change_right: ClassVar[Right | None] = None

    acts: ClassVar[Sequence[Act]] = ()
    counted_as: ClassVar[tuple[str, str] | None] = None
    empty_title: ClassVar[str] = "Nada aqui ainda"
    empty_text: ClassVar[str] = ""
    list_deadline_ms: ClassVar[int] = 3000

    paginator: type[Paginator[Any]] = CappedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # each facet is a count over the whole table
    list_per_page = 50
    list_max_show_all = 0
    list_fullwidth = True
    list_filter_submit = True
    compressed_fields = True

    def has_module_permission(self, request: HttpRequest) -> bool:
        return has_right(request.user, self.view_right)

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return has_right(request.user, self.view_right)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.add_right is not None and has_right(request.user, self.add_right)

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return self.change_right is not None and has_right(request.user, self.change_right)

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PreparedChangeList

    def prepare(self, request: HttpRequest, page: Sequence[M]) -> None:
        """Hook: set on each row of a page what its columns show and the row itself does not hold."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with a deadline for reading it; what a POST does has none."""
        if request.method != "GET":
            return super().changelist_view(request, extra_context)
        try:
            with statement_timeout(self.list_deadline_ms):
                response: HttpResponse = super().changelist_view(request, extra_context)
                if isinstance(response, SimpleTemplateResponse):
                    response.render()
                return response
        except TooSlow:
            context = {**self.admin_site.each_context(request), "title": self.opts.verbose_name_plural}
            return TemplateResponse(request, "backoffice/too_slow.html", context, status=503)

    def get_urls(self) -> list[URLPattern]:
        if not self.acts:
            return super().get_urls()
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        act = path("<path:object_id>/acao/<slug:act>/", self.admin_site.admin_view(self.act_view), name=name)
        return [act, *super().get_urls()]

    def act_url(self, obj: M, name: str) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_act", args=[obj.pk, name])

    def page_url(self, obj: M) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])

    def buttons(self, request: HttpRequest, obj: M) -> list[Button]:
        """What this user may do to this row now."""
        return [
            Button(act.label, self.act_url(obj, act.name), act.tone, act.icon)
            for act in self.acts
            if act.applies(obj) and has_right(request.user, act.right)
        ]

    def act_view(self, request: HttpRequest, object_id: str, act: str) -> HttpResponse:
        """GET asks, POST does. Raises PermissionDenied without the act's right."""
        found = next((each for each in self.acts if each.name == act), None)
        if found is None:
            raise Http404
        require(request.user, found.right)
        row = self.get_object(request, object_id)
        if row is None or not self.has_view_permission(request, row):
            raise Http404
        if not found.applies(row):
            self.message_user(
                request, f"{found.label}: já não se aplica. Veja o estado atual abaixo.", messages.WARNING
            )
            return HttpResponseRedirect(self.page_url(row))
        form = found.form(request.POST if request.method == "POST" else None, **self.act_form_kwargs(found, row))
        if request.method == "POST" and form.is_valid():
            return self._run(request, found, row, form.cleaned_data)
        return self.ask(request, found, form, back=self.page_url(row), consequence=found.consequence_for(row), row=row)

    def act_form_kwargs(self, act: Act, row: M) -> dict[str, Any]:
        """Hook: what an act's form needs besides the data."""
        return {}

    def _run(self, request: HttpRequest, act: Act, row: M, answers: dict[str, Any]) -> HttpResponse:
        try:
            sentence = act.run(request, row, answers)
        except act.refused as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
        else:
            self.message_user(request, sentence, messages.SUCCESS)
        return HttpResponseRedirect(self.page_url(row))

    def ask(self, request: HttpRequest, act: Act, form: Any, **context: Any) -> TemplateResponse:
        """The page that stands before an act."""
        base = {**self.admin_site.each_context(request), "opts": self.opts, "title": act.label}
        return TemplateResponse(request, "backoffice/confirm.html", {**base, "act": act, "form": form, **context})


class PageAdmin(JuliaAdmin[M]):
    """A row is shown as a page of its own; the form, where there is one, is at `…/editar/`."""

    page_template: ClassVar[str]

    def page_context(self, request: HttpRequest, obj: M) -> dict[str, Any]:
        return {}

    def get_urls(self) -> list[URLPattern]:
        if self.change_right is None:
            return super().get_urls()
        name = f"{self.opts.app_label}_{self.opts.model_name}_edit"
        edit = path("<path:object_id>/editar/", self.admin_site.admin_view(self.edit_view), name=name)
        return [edit, *super().get_urls()]

    def edit_url(self, obj: M) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_edit", args=[obj.pk])

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        if not self.has_view_permission(request, obj):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": obj,
            "title": str(obj),
            "buttons": self.buttons(request, obj),
            **self.page_context(request, obj),
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.page_template, context)

    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Django's form. Raises PermissionDenied without the right to change."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        return self.changeform_view(request, object_id)

    def response_post_save_change(self, request: HttpRequest, obj: M) -> HttpResponse:
        return HttpResponseRedirect(self.page_url(obj))

    def response_post_save_add(self, request: HttpRequest, obj: M) -> HttpResponse:
        return HttpResponseRedirect(self.page_url(obj))
