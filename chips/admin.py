"""Chips: who can carry messages now, and why the others cannot."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Case, QuerySet, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from chips import blocking, ejection, fleet
from chips.choices import CARRIED, NULL_PROVIDER, ChipStatus, Resultado, TipoMensagem, TrustLevel
from chips.forms import IDENTITY, LIMITS, SECRETS, ChipForm, LimitsForm
from chips.models import Chip, Tentativa
from chips.monitor import services as monitor
from chips.monitor import shown
from chips.monitor.store import NOT_CHECKED
from chips.selection import NORMAL_TRUST, SENTENCES, ChipFacts, Refusal, refusals
from chips.vocabulario.admin import RegraErroAdmin
from core import clock
from core.audit.services import MotivoMissing
from core.backoffice import audit, moments, ui
from core.backoffice.acts import Act
from core.backoffice.admin import PageAdmin
from core.backoffice.forms import ConfirmForm
from core.rights import Right, require

VERIFY_WITHIN_S = 12.0  # one call, and finding out whether it may be made
CAMPAIGN_WEIGHT = 2  # for the "why not" column; the weight in force is the setting `peso_campanha`
STATUS_TONES = {
    ChipStatus.ACTIVE: ui.Tone.OK,
    ChipStatus.READY: ui.Tone.INFO,
    ChipStatus.WARMING: ui.Tone.INFO,
    ChipStatus.DEGRADED: ui.Tone.WARN,
    ChipStatus.PAUSED: ui.Tone.WARN,
    ChipStatus.BANNED: ui.Tone.BAD,
}
TRUST_TONES = {
    TrustLevel.VERDE: ui.Tone.OK,
    TrustLevel.AMARELO: ui.Tone.WARN,
    TrustLevel.LARANJA: ui.Tone.WARN,
    TrustLevel.VERMELHO: ui.Tone.BAD,
    TrustLevel.CRITICO: ui.Tone.BAD,
}
RESULT_TONES = {
    Resultado.INICIADO: ui.Tone.INFO,
    Resultado.ENVIADO: ui.Tone.OK,
    Resultado.REJEITADO: ui.Tone.BAD,
    Resultado.DESCONHECIDO: ui.Tone.WARN,
}


def why_not(facts: ChipFacts, tipo: TipoMensagem, now: datetime) -> list[str]:
    """Each reason why this chip does not carry such a message now, as a sentence."""
    weight = CAMPAIGN_WEIGHT if tipo is TipoMensagem.PROSPECCAO else 1
    found = refusals(facts, tipo, peso=weight, now=now, trust_min=NORMAL_TRUST[tipo])
    return [SENTENCES[reason] for reason in found]


def _before_block(chip: Chip) -> str:
    now = clock.now()
    others = [each for each in fleet.load() if each.id != chip.pk and each.status == ChipStatus.ACTIVE]
    able = sum(not why_not(each, TipoMensagem.PROSPECCAO, now) for each in others)
    rest = f"As mensagens seguem por {ui.counted(able, 'outro chip apto', 'outros chips aptos')} a campanhas agora."
    if not able:
        rest = "Nenhum outro chip está apto a campanhas agora: sem este, elas esperam na fila."
    return (
        "Nenhuma mensagem nova sai por ele até alguém da supervisão desbloquear, nem campanha, nem resposta. O "
        f"recálculo da confiança não desfaz este bloqueio. {rest}"
    )


def _block(request: HttpRequest, chip: Chip, answers: Mapping[str, Any]) -> str:
    now, ip = clock.now(), audit.ip_of(request)
    blocking.block(chip.pk, motivo=answers["motivo"], actor=request.user, now=now, ip=ip)
    return f"{ui.short_digits(str(chip))} está bloqueado. O que já estava saindo termina; nada novo sai por ele."


def _unblock(request: HttpRequest, chip: Chip, answers: Mapping[str, Any]) -> str:
    now, ip = clock.now(), audit.ip_of(request)
    blocking.unblock(chip.pk, motivo=answers["motivo"], actor=request.user, now=now, ip=ip)
    name = ui.short_digits(str(chip))
    return f"{name} não está mais bloqueado por uma pessoa. Situação, confiança e limites continuam valendo."


def _restore(request: HttpRequest, chip: Chip, answers: Mapping[str, Any]) -> str:
    now, ip = clock.now(), audit.ip_of(request)
    ejection.restore(chip.pk, motivo=answers["motivo"], actor=request.user, now=now, ip=ip)
    return f"{ui.short_digits(str(chip))} voltou à produção, com 25% dos limites nas primeiras 2 horas."


def _change_limits(request: HttpRequest, chip: Chip, answers: Mapping[str, Any]) -> str:
    changed = {name: [getattr(chip, name), answers[name]] for name in LIMITS if getattr(chip, name) != answers[name]}
    if not changed:
        return "Nada mudou: os valores são os mesmos."
    with transaction.atomic():
        Chip.objects.filter(pk=chip.pk).update(**{name: after for name, (_before, after) in changed.items()})
        audit.record(request, "chip_limites", chip, motivo=answers["motivo"], detalhes=changed)
    return f"Limites de {ui.short_digits(str(chip))} mudaram. Valem para a próxima mensagem."


def _verify(request: HttpRequest, chip: Chip, answers: Mapping[str, Any]) -> str:
    """Ask first, record after: the audit entry says what was found, also when nobody answered."""
    (check,) = monitor.check([chip.pk], deadline_s=VERIFY_WITHIN_S, counts=False) or (None,)
    sentence = shown.sentence_of(check)
    detalhes = {"resultado": str(check.resultado) if check and check.resultado else "nao_perguntado"}
    audit.record(request, "chip_verificado", chip, detalhes=detalhes)
    return f"{ui.short_digits(str(chip))}: {sentence}"


@admin.register(Chip)
class ChipAdmin(PageAdmin[Chip]):
    page_template = "backoffice/chip.html"
    add_right = Right.CHIP_CADASTRAR
    change_right = Right.CHIP_CADASTRAR
    add_label = "Cadastrar chip"
    empty_title = "Nenhum chip cadastrado"
    empty_text = "Sem chip nenhuma mensagem sai. A administração cadastra o primeiro aqui."

    list_display = ("nome_curto", "telefone_oculto", "situacao", "confianca", "conexao", "hora", "dia", "campanhas")
    list_filter = [("status", ChoicesDropdownFilter), ("provider", ChoicesDropdownFilter)]
    ordering = ("instance_name",)
    sortable_by = ()
    acts = (
        Act(
            name="bloquear",
            label="Bloquear chip",
            icon="block",
            tone="danger",
            right=Right.CHIP_BLOQUEAR,
            question="Bloquear este chip?",
            consequence=_before_block,
            run=_block,
            applies=lambda chip: not chip.bloqueio_manual,
            refused=(blocking.BlockConflict, MotivoMissing),
        ),
        Act(
            name="desbloquear",
            label="Desbloquear chip",
            icon="lock_open",
            tone="primary",
            right=Right.CHIP_DESBLOQUEAR,
            question="Desbloquear este chip?",
            consequence=lambda chip: (
                f"Foi bloqueado por {chip.bloqueado_por or 'uma pessoa'}: “{chip.bloqueio_motivo}”. "
                "Ele volta a enviar assim que situação, conexão, confiança e limites permitirem."
            ),
            run=_unblock,
            applies=lambda chip: chip.bloqueio_manual,
            refused=(blocking.BlockConflict, MotivoMissing),
        ),
        Act(
            name="devolver",
            label="Devolver à produção",
            icon="restart_alt",
            tone="primary",
            right=Right.CHIP_DESBLOQUEAR,
            question="Devolver este chip à produção?",
            consequence=lambda chip: (
                f"Saiu da produção por: {chip.degradado_motivo or 'decisão da Julia'}. Confira antes, no celular, se o "
                "número consegue escrever. Ele volta com 25% dos limites nas primeiras 2 horas."
            ),
            run=_restore,
            applies=lambda chip: chip.status == ChipStatus.DEGRADED,
            refused=(ejection.CannotRestore, MotivoMissing),
        ),
        Act(
            name="verificar",
            label="Verificar agora",
            icon="cell_tower",
            right=Right.JOB_EXECUTAR,
            question="Perguntar ao provedor se este chip está conectado?",
            consequence="A resposta vale na hora para a conexão do chip e não muda a situação dele. Não conta como uma "
            "das duas verificações seguidas que confirmam uma queda: essas são as de cada 5 minutos.",
            run=_verify,
            form=ConfirmForm,
            applies=lambda chip: chip.status not in NOT_CHECKED and chip.provider != NULL_PROVIDER,
        ),
        Act(
            name="limites",
            label="Mudar limites",
            icon="tune",
            right=Right.CHIP_LIMITES,
            question="Mudar limites e permissões deste chip?",
            consequence="Vale para a próxima mensagem, sem reiniciar nada.",
            run=_change_limits,
            form=LimitsForm,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Chip]:
        """Without the secrets: a page never decrypts them."""
        return super().get_queryset(request).defer(*SECRETS)

    def prepare(self, request: HttpRequest, page: Sequence[Chip]) -> None:
        facts = {chip.id: chip for chip in fleet.load()}
        now = clock.now()
        for chip in page:
            _attach(chip, facts.get(chip.pk), now)

    @display(description="Chip")
    def nome_curto(self, obj: Chip) -> str:
        return ui.short_digits(obj.instance_name)

    @display(description="Telefone")
    def telefone_oculto(self, obj: Chip) -> SafeString:
        return ui.masked_phone(obj.telefone)

    @display(description="Situação")
    def situacao(self, obj: Chip) -> SafeString:
        if obj.bloqueio_manual:
            return ui.badge("Bloqueado por uma pessoa", ui.Tone.BAD, obj.bloqueio_motivo)
        return ui.badge(obj.get_status_display(), STATUS_TONES.get(ChipStatus(obj.status), ui.Tone.NEUTRAL))

    @display(description="Confiança")
    def confianca(self, obj: Chip) -> SafeString:
        return trust_badge(obj)

    @display(description="Conexão")
    def conexao(self, obj: Chip) -> SafeString:
        return shown.badge(obj, clock.now())

    @display(description="Última hora")
    def hora(self, obj: Any) -> str:
        return f"{obj.peso_hora_agora} de {obj.limite_hora}"

    @display(description="Hoje")
    def dia(self, obj: Any) -> str:
        return f"{obj.peso_hoje} de {obj.limite_dia}"

    @display(description="Leva campanhas agora?")
    def campanhas(self, obj: Any) -> SafeString:
        reasons = obj.recusas[TipoMensagem.PROSPECCAO]
        if not reasons:
            return ui.badge("Sim", ui.Tone.OK)
        more = f" (+{len(reasons) - 1})" if len(reasons) > 1 else ""
        return ui.badge(f"Não: {reasons[0]}{more}", ui.Tone.NEUTRAL, "; ".join(reasons))

    def page_context(self, request: HttpRequest, obj: Chip) -> dict[str, Any]:
        now = clock.now()
        facts = {chip.id: chip for chip in fleet.load()}
        _attach(obj, facts.get(obj.pk), now)
        stored = stored_secrets(obj)
        recent = list(Tentativa.objects.filter(chip=obj).order_by("-id")[:15])
        return {
            "chip": obj,
            "title": ui.short_digits(obj.instance_name),
            "trust": trust_badge(obj),
            "status_badge": self.situacao(obj),
            "conexao": self.conexao(obj),
            "conexao_fatos": shown.facts_of(obj, now),
            "conexao_avisos": shown.notices_of(obj, now),
            "tipos": [(TipoMensagem(tipo).label, reasons) for tipo, reasons in obj.recusas.items()],  # type: ignore[attr-defined]
            "purging": obj.connection_cooldown_until is not None and obj.connection_cooldown_until > now,
            "cooling": obj.cooldown_until if obj.cooldown_until and obj.cooldown_until > now else None,
            "pace": moments.relative(obj.proximo_envio_em, now) if obj.proximo_envio_em > now else "",
            "attempts": [(each, RESULT_TONES[Resultado(each.resultado)].value) for each in recent],
            "factors": sorted(obj.trust_factors.items()) if isinstance(obj.trust_factors, dict) else [],
            "stored_secrets": [SECRETS[name] for name in stored],
            "missing_secrets": [label for name, label in SECRETS.items() if name not in stored],
            "may_edit": self.has_change_permission(request),
            "edit_url": self.edit_url(obj),
            "entries": audit.entries_of(obj),
        }

    def act_form_kwargs(self, act: Act, row: Chip) -> dict[str, Any]:
        return {"initial": {name: getattr(row, name) for name in LIMITS}} if act.name == "limites" else {}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return self._form_page(request, None)

    def edit_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        require(request.user, Right.CHIP_CADASTRAR)
        chip = self.get_object(request, object_id)
        if chip is None:
            raise Http404
        return self._form_page(request, chip)

    def _form_page(self, request: HttpRequest, chip: Chip | None) -> HttpResponse:
        stored = stored_secrets(chip) if chip else ()
        data = request.POST if request.method == "POST" else None
        form = ChipForm(data, instance=chip, stored=stored)
        if request.method == "POST" and form.is_valid():
            saved = self._save(request, form, adding=chip is None)
            self.message_user(request, f"{ui.short_digits(str(saved))} foi salvo.", messages.SUCCESS)
            return HttpResponseRedirect(self.page_url(saved))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Editar {ui.short_digits(str(chip))}" if chip else "Cadastrar chip",
            "form": form,
        }
        return TemplateResponse(request, "backoffice/chip_form.html", context)

    def _save(self, request: HttpRequest, form: ChipForm, *, adding: bool) -> Chip:
        """Only the columns of the form are written: counters move under it all the time."""
        chip, secrets = form.instance, form.new_secrets()
        for name, value in secrets.items():
            setattr(chip, name, value)
        with transaction.atomic():
            if adding:
                chip.save(force_insert=True)
            else:
                chip.save(update_fields=[*IDENTITY, *secrets])
            detalhes = {
                "campos": [name for name in form.changed_data if name not in SECRETS],
                "segredos": sorted(secrets),
            }
            audit.record(request, "chip_cadastrado" if adding else "chip_editado", chip, detalhes=detalhes)
        return chip


def trust_badge(chip: Chip) -> SafeString:
    level = TrustLevel(chip.trust_level)
    return ui.badge(f"{chip.trust_score} · {level.label}", TRUST_TONES[level])


def stored_secrets(chip: Chip) -> list[str]:
    """Names of the secrets that have a value, without reading one."""
    has_value = {name: Case(When(**{name: ""}, then=False), default=True) for name in SECRETS}
    found = Chip.objects.filter(pk=chip.pk).values_list(*has_value.values()).get()
    return [name for name, has in zip(SECRETS, found, strict=True) if has]


def _attach(chip: Any, facts: ChipFacts | None, now: datetime) -> None:
    """What the columns show: usage and refusals. A banned or cancelled chip is not part of the fleet."""
    chip.peso_hora_agora = facts.peso_hora if facts else 0
    chip.peso_hoje = facts.peso_dia if facts else 0
    gone = [SENTENCES[Refusal.STATUS]]
    chip.recusas = {tipo: why_not(facts, tipo, now) if facts else gone for tipo in CARRIED}


__all__ = ["ChipAdmin", "RegraErroAdmin"]
