"""What people do on the pages: each act asks for its right and a motivo, goes through its service, and is audited."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from core.flags.models import AppSetting
from core.models import AuditEntry
from core.rights import Role
from fila.campanhas.errors import CampanhaConflict
from fila.choices import CampanhaStatus
from fila.models import Campanha
from guardrails.models import DoctorState
from tests import factories
from tests.julia import backoffice
from tests.julia.backoffice import PHONE, World

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

MOTIVO = "combinado com a coordenação"


@pytest.fixture
def world() -> World:
    return backoffice.world()


@pytest.fixture
def operacao() -> Client:
    return backoffice.logged_in(Role.OPERACAO)


def act_url(row: Any, name: str) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_act", args=[row.pk, name])


def audited(acao: str) -> AuditEntry:
    return AuditEntry.objects.get(acao=acao)


@pytest.mark.parametrize(
    ("row", "act"),
    [
        ("campanha", "pausar"), ("campanha", "cancelar"), ("rascunho", "iniciar"), ("rascunho", "testar"),
        ("chip", "bloquear"), ("chip", "limites"), ("mensagem", "cancelar"), ("cliente", "opt-out"),
    ],
)  # fmt: skip
def test_leitura_can_do_nothing_even_when_it_posts(row: str, act: str, world: World) -> None:
    leitura = backoffice.logged_in(Role.LEITURA)
    url = act_url(getattr(world, row), act)
    assert leitura.get(url).status_code == 403
    assert leitura.post(url, {"motivo": MOTIVO, "telefone": PHONE}).status_code == 403


def test_opening_the_page_of_an_act_changes_nothing(world: World, operacao: Client) -> None:
    assert operacao.get(act_url(world.campanha, "cancelar")).status_code == 200
    world.campanha.refresh_from_db()
    assert world.campanha.status == CampanhaStatus.ATIVA


def test_a_short_motivo_changes_nothing(world: World, operacao: Client) -> None:
    response = operacao.post(act_url(world.campanha, "pausar"), {"motivo": "porque"})
    assert "pelo menos 10 caracteres" in response.content.decode()
    world.campanha.refresh_from_db()
    assert world.campanha.status == CampanhaStatus.ATIVA


def test_a_campaign_is_paused_with_its_motivo(world: World, operacao: Client) -> None:
    response = operacao.post(act_url(world.campanha, "pausar"), {"motivo": MOTIVO}, follow=True)
    assert "está pausada" in response.content.decode()
    world.campanha.refresh_from_db()
    assert world.campanha.status == CampanhaStatus.PAUSADA
    assert AuditEntry.objects.filter(motivo=MOTIVO, usuario="operacao").exists()


def test_who_lost_a_race_is_told(world: World, operacao: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def faster(*_args: Any, **_kwargs: Any) -> None:
        raise CampanhaConflict("Outra pessoa já cancelou esta campanha.", CampanhaStatus.CANCELADA)

    monkeypatch.setattr("fila.campanhas.admin.services.pause", faster)
    response = operacao.post(act_url(world.campanha, "pausar"), {"motivo": MOTIVO}, follow=True)
    assert "Outra pessoa já cancelou" in response.content.decode()


def test_an_act_that_no_longer_applies_says_so(world: World, operacao: Client) -> None:
    response = operacao.get(act_url(world.campanha, "retomar"), follow=True)
    assert "já não se aplica" in response.content.decode()


def test_a_campaign_is_created_from_the_form_as_a_draft(world: World, operacao: Client) -> None:
    response = operacao.post(reverse("admin:fila_campanha_add"), CAMPAIGN, follow=True)
    assert "Nada foi enviado ainda" in response.content.decode()
    created = Campanha.objects.get(nome_template="Plantões")
    assert created.status == CampanhaStatus.RASCUNHO
    assert created.created_by == "operacao"
    assert created.audience_filters["quantidade_alvo"] == 25
    assert created.audience_filters["estados"] == ["SP"]


def test_the_preview_of_a_form_saves_nothing(world: World, operacao: Client) -> None:
    factories.cliente(nome="Ana Souza", primeiro_nome="Ana", estado="SP")
    before = Campanha.objects.count()
    html = operacao.post(reverse("admin:fila_campanha_add"), CAMPAIGN | {"previa": "1"}).content.decode()
    assert "Oi Ana, temos plantões." in html
    assert Campanha.objects.count() == before


def test_a_text_with_an_unknown_variable_is_refused_under_its_field(world: World, operacao: Client) -> None:
    html = operacao.post(reverse("admin:fila_campanha_add"), CAMPAIGN | {"corpo": "Oi {nomee}"}).content.decode()
    assert "{nomee} não existe" in html
    assert not Campanha.objects.filter(nome_template="Plantões").exists()


def test_a_region_nobody_has_is_refused(world: World, operacao: Client) -> None:
    html = operacao.post(reverse("admin:fila_campanha_add"), CAMPAIGN | {"regioes": "Lua"}).content.decode()
    assert "Nenhum médico tem a região Lua" in html


def test_a_draft_is_edited_duplicated_and_discarded(world: World, operacao: Client) -> None:
    draft = world.rascunho
    operacao.post(reverse("admin:fila_campanha_edit", args=[draft.pk]), CAMPAIGN)
    draft.refresh_from_db()
    assert draft.nome_template == "Plantões"
    operacao.post(reverse("admin:fila_campanha_duplicate", args=[draft.pk]))
    assert Campanha.objects.filter(duplicada_de=draft).count() == 1
    operacao.post(reverse("admin:fila_campanha_discard", args=[draft.pk]))
    assert not Campanha.objects.filter(pk=draft.pk).exists()


def test_a_started_campaign_is_not_edited(world: World, operacao: Client) -> None:
    response = operacao.post(reverse("admin:fila_campanha_edit", args=[world.campanha.pk]), CAMPAIGN, follow=True)
    assert "Duplique esta" in response.content.decode()
    world.campanha.refresh_from_db()
    assert world.campanha.nome_template != "Plantões"


def test_a_pending_message_is_cancelled(world: World, operacao: Client) -> None:
    operacao.post(act_url(world.mensagem, "cancelar"), {"motivo": MOTIVO})
    world.mensagem.refresh_from_db()
    assert world.mensagem.status == "cancelada"
    assert audited("fila_limpa").motivo == MOTIVO


def test_bulk_cancel_asks_for_a_motivo_and_spares_what_was_sent(world: World, operacao: Client) -> None:
    sent = factories.mensagem(status="enviada")
    chosen = {"action": "cancelar_pendentes", "_selected_action": [str(world.mensagem.pk), str(sent.pk)]}
    url = reverse("admin:fila_mensagem_changelist")
    assert "Cancelar 1 mensagem pendente?" in operacao.post(url, chosen).content.decode()
    world.mensagem.refresh_from_db()
    assert world.mensagem.status == "pendente"
    operacao.post(url, chosen | {"confirmado": "1", "motivo": MOTIVO})
    world.mensagem.refresh_from_db()
    sent.refresh_from_db()
    assert (world.mensagem.status, sent.status) == ("cancelada", "enviada")


def test_bulk_cancel_of_a_whole_filter_reaches_the_rows_behind_the_page(world: World, operacao: Client) -> None:
    other = factories.mensagem()
    url = f"{reverse('admin:fila_mensagem_changelist')}?campanha={world.campanha.pk}"
    more = factories.mensagens(60, campanha=world.campanha)
    chosen = {"action": "cancelar_pendentes", "_selected_action": [str(more[0].pk)], "select_across": "1"}
    assert "Cancelar 61 mensagens pendentes?" in operacao.post(url, chosen).content.decode()
    operacao.post(url, chosen | {"confirmado": "1", "motivo": MOTIVO})
    other.refresh_from_db()
    assert other.status == "pendente"
    assert not world.campanha.mensagens.filter(status="pendente").exists()


def test_leitura_is_not_offered_the_bulk_cancel(world: World) -> None:
    leitura = backoffice.logged_in(Role.LEITURA)
    chosen = {"action": "cancelar_pendentes", "_selected_action": [str(world.mensagem.pk)], "confirmado": "1"}
    leitura.post(reverse("admin:fila_mensagem_changelist"), chosen | {"motivo": MOTIVO})
    world.mensagem.refresh_from_db()
    assert world.mensagem.status == "pendente"


def test_operacao_blocks_a_chip_and_only_supervisao_unblocks_it(world: World, operacao: Client) -> None:
    operacao.post(act_url(world.chip, "bloquear"), {"motivo": MOTIVO})
    world.chip.refresh_from_db()
    assert (world.chip.bloqueio_manual, world.chip.bloqueado_por) == (True, "operacao")
    AuditEntry.objects.get(acao="chip_bloqueado", usuario="operacao", motivo=MOTIVO)
    assert operacao.post(act_url(world.chip, "desbloquear"), {"motivo": MOTIVO}).status_code == 403
    supervisao = backoffice.logged_in(Role.SUPERVISAO)
    supervisao.post(act_url(world.chip, "desbloquear"), {"motivo": MOTIVO})
    world.chip.refresh_from_db()
    assert not world.chip.bloqueio_manual
    assert audited("chip_desbloqueado").detalhes["bloqueado_por"] == "operacao"


def test_supervisao_changes_limits_and_the_audit_has_before_and_after(world: World) -> None:
    supervisao = backoffice.logged_in(Role.SUPERVISAO)
    limits = {"limite_hora": 9, "limite_dia": 100, "delay_minimo_segundos": 0, "pode_prospectar": "on",
              "pode_followup": "on", "pode_responder": "on"}  # fmt: skip
    supervisao.post(act_url(world.chip, "limites"), limits | {"motivo": MOTIVO})
    world.chip.refresh_from_db()
    assert world.chip.limite_hora == 9
    assert audited("chip_limites").detalhes == {"limite_hora": [20, 9]}


def test_a_secret_is_stored_encrypted_and_an_empty_field_keeps_it(world: World) -> None:
    client = backoffice.logged_in(Role.ADMINISTRACAO)
    form = {"telefone": world.chip.telefone, "instance_name": "julia_nova", "provider": "evolution", "tipo": "julia",
            "status": "active"}  # fmt: skip
    before = type(world.chip).objects.get(pk=world.chip.pk).webhook_secret
    client.post(reverse("admin:chips_chip_edit", args=[world.chip.pk]), form | {"api_key": "chave-nova"})
    after = type(world.chip).objects.get(pk=world.chip.pk)
    assert (after.instance_name, after.api_key, after.webhook_secret) == ("julia_nova", "chave-nova", before)
    assert audited("chip_editado").detalhes["segredos"] == ["api_key"]
    assert "chave-nova" not in str(audited("chip_editado").detalhes)


def test_a_doctor_who_asked_to_leave_leaves(world: World, operacao: Client) -> None:
    operacao.post(act_url(world.cliente, "opt-out"), {"motivo": MOTIVO})
    assert DoctorState.objects.get(cliente=world.cliente).permission_state == "opted_out"
    world.mensagem.refresh_from_db()
    assert world.mensagem.status == "bloqueada"
    assert audited("cliente_optout").usuario == "operacao"


def test_a_phone_is_revealed_only_by_post_and_leaves_a_trace(world: World, operacao: Client) -> None:
    url = reverse("admin:core_cliente_reveal", args=[world.cliente.pk])
    assert operacao.get(url).status_code == 405
    response = operacao.post(url)
    assert "+55 11 90000-1234" in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert audited("telefone_revelado").entidade_id == str(world.cliente.pk)
    leitura = backoffice.logged_in(Role.LEITURA)
    assert leitura.post(url).status_code == 403


def test_a_doctor_is_registered_with_the_canonical_phone(operacao: Client) -> None:
    form = {"nome": "Dra. Íris  Lima", "novo_telefone": "(81) 8000-0001", "estado": "pe", "tags": "plantão, noite"}
    operacao.post(reverse("admin:core_cliente_add"), form)
    from core.models import Cliente

    made = Cliente.objects.get(telefone="5581980000001")
    assert (made.nome, made.primeiro_nome, made.nome_busca) == ("Dra. Íris Lima", "Íris", "iris lima")
    assert (made.fuso, made.estado, made.tags) == ("America/Recife", "PE", ["plantão", "noite"])
    assert audited("medico_cadastrado").detalhes == {"telefone": "5581...0001"}


def test_editing_a_doctor_keeps_the_phone_when_its_field_is_empty(world: World, operacao: Client) -> None:
    operacao.post(
        reverse("admin:core_cliente_edit", args=[world.cliente.pk]), {"nome": "Ana Lima", "novo_telefone": ""}
    )
    world.cliente.refresh_from_db()
    assert (world.cliente.telefone, world.cliente.nome_busca) == (PHONE, "ana lima")


def test_a_phone_that_somebody_has_is_refused(world: World, operacao: Client) -> None:
    html = operacao.post(reverse("admin:core_cliente_add"), {"nome": "Outra", "novo_telefone": PHONE}).content.decode()
    assert "já existe um médico com este número" in html


def test_a_switch_is_changed_with_a_motivo_by_supervisao_only(world: World, operacao: Client) -> None:
    url = reverse("admin:core_appsetting_set", args=["safe_mode"])
    assert operacao.post(url, {"valor": "on", "motivo": MOTIVO}).status_code == 403
    supervisao = backoffice.logged_in(Role.SUPERVISAO)
    supervisao.post(url, {"valor": "on", "motivo": MOTIVO})
    assert AppSetting.objects.get(pk="safe_mode").value is True
    assert audited("feature_flag_change").motivo == MOTIVO


def test_a_window_is_set_with_fields_and_an_unlawful_one_is_refused(world: World) -> None:
    client = backoffice.logged_in(Role.SUPERVISAO)
    url = reverse("admin:core_appsetting_set", args=["janela_envio"])
    html = client.post(url, {"inicio": "20:00", "fim": "08:00", "dias": [1], "motivo": MOTIVO}).content.decode()
    assert "o início vem antes do fim" in html
    client.post(url, {"inicio": "09:00", "fim": "18:00", "dias": [1, 2], "motivo": MOTIVO})
    assert AppSetting.objects.get(pk="janela_envio").value == {"inicio": "09:00", "fim": "18:00", "dias": [1, 2]}


def test_an_empty_limit_means_no_limit(world: World) -> None:
    client = backoffice.logged_in(Role.SUPERVISAO)
    client.post(reverse("admin:core_appsetting_set", args=["limite_global_hora"]), {"valor": "", "motivo": MOTIVO})
    assert AppSetting.objects.get(pk="limite_global_hora").value is None


def test_only_administracao_confirms_the_environment(world: World) -> None:
    url = reverse("admin:core_appsetting_set", args=["environment"])
    assert backoffice.logged_in(Role.SUPERVISAO).get(url).status_code == 403
    assert backoffice.logged_in(Role.ADMINISTRACAO).get(url).status_code == 200


def test_a_job_runs_now_and_its_run_is_recorded_as_manual(world: World, operacao: Client) -> None:
    from core.jobs.models import JobExecution

    operacao.post(reverse("admin:core_jobexecution_run", args=["heartbeat"]))
    assert JobExecution.objects.get(origem="manual").job_name == "heartbeat"
    assert audited("job_executado").usuario == "operacao"


def test_a_user_gets_one_role_and_never_deletes_another(world: World) -> None:
    client = backoffice.logged_in(Role.ADMINISTRACAO)
    passwords = {"password1": "senha-bem-longa", "password2": "senha-bem-longa"}
    client.post(reverse("admin:auth_user_add"), {"username": "nova", "papel": Role.OPERACAO.value, **passwords})
    made = User.objects.get(username="nova")
    assert made.is_staff
    assert [group.name for group in made.groups.all()] == [Role.OPERACAO.value]
    assert audited("usuario_criado").detalhes["papel"] == ["", Role.OPERACAO.value]
    assert client.post(reverse("admin:auth_user_delete", args=[made.pk]), {"post": "yes"}).status_code == 403


def test_a_role_is_changed_on_the_users_page_without_touching_the_password(world: World) -> None:
    client = backoffice.logged_in(Role.ADMINISTRACAO)
    other = backoffice.user(Role.LEITURA)
    other.set_password("senha-bem-longa")
    other.save()
    url = reverse("admin:auth_user_change", args=[other.pk])
    assert "pbkdf2" not in client.get(url).content.decode()
    client.post(url, {"username": "leitura", "papel": Role.SUPERVISAO.value, "is_active": "on"})
    other = User.objects.get(pk=other.pk)
    assert [group.name for group in other.groups.all()] == [Role.SUPERVISAO.value]
    assert other.check_password("senha-bem-longa")
    assert audited("usuario_editado").detalhes["papel"] == [Role.LEITURA.value, Role.SUPERVISAO.value]


def test_administracao_cannot_take_over_a_superuser() -> None:
    client = backoffice.logged_in(Role.ADMINISTRACAO)
    root = User.objects.create_superuser("raiz", password="senha-da-raiz-longa")
    url = reverse("admin:auth_user_password_change", args=[root.pk])
    new = {"password1": "tomada-de-poder-1", "password2": "tomada-de-poder-1"}
    assert client.post(url, new).status_code == 403
    root.refresh_from_db()
    assert root.check_password("senha-da-raiz-longa")


CAMPAIGN = {
    "nome": "Plantões",
    "tipo": "oferta_plantao",
    "corpo": "Oi {primeiro_nome}, temos plantões.",
    "agendar_para": "",
    "estados": ["SP"],
    "regioes": "",
    "clientes_especificos": "",
    "quantidade_alvo": "25",
    "modo_selecao": "deterministico",
    "pressure_score_max": "50",
    "dias_sem_contato": "7",
}
