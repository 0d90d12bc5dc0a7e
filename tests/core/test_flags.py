"""Settings that operators change at run time: typed, audited, effective without a restart, never guessed open."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
from django.db import connection

from core import flags
from core.audit.models import AuditEntry
from core.audit.services import MotivoMissing
from core.flags import registry
from core.flags.models import AppSetting
from core.flags.services import create_missing_rows, set_setting

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
MOTIVO = "pedido da operação no plantão"
SWITCHES = {
    "operacao_pausada": False,
    "envio_travado": False,
    "safe_mode": False,
    "worker_fila": True,
    "campaigns_enabled": True,
    "envio_campanha": True,
    "envio_prospeccao": True,
    "envio_followup": True,
    "envio_resposta": True,
}


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    flags.forget()
    yield
    flags.forget()


def change(key: str, value: Any, *, motivo: str = MOTIVO) -> Any:
    return set_setting(key, value, actor="ana", motivo=motivo, now=NOW)


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_migration_leaves_a_row_with_its_default_for_every_setting_of_core() -> None:
    stored = {key: value for key, value, _description in import_module("core.migrations.0004_settings").SETTINGS}
    declared = {each.key: each.default for each in registry.declared()}
    assert stored.items() <= declared.items()
    assert set(AppSetting.objects.values_list("key", flat=True)) >= set(stored)


def test_every_switch_can_be_read_on_a_fresh_database() -> None:
    assert dict(flags.read_switches()) == SWITCHES


def test_all_switches_are_read_in_one_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        flags.read_switches()


def test_a_switch_set_by_raw_sql_is_seen_at_once() -> None:
    flags.read_switches()
    sql("UPDATE app_settings SET value = 'true' WHERE key = 'operacao_pausada'")
    assert flags.read_switches()["operacao_pausada"] is True


@pytest.mark.parametrize("broken", ["NULL", "'\"sim\"'", "'1'", "'{}'"])
def test_a_switch_that_is_no_boolean_is_unreadable(broken: str) -> None:
    sql(f"UPDATE app_settings SET value = {broken} WHERE key = 'envio_campanha'")
    with pytest.raises(flags.SettingUnreadable, match="envio_campanha"):
        flags.get("envio_campanha")


def test_a_switch_without_a_row_is_unreadable() -> None:
    AppSetting.objects.filter(key="safe_mode").delete()
    with pytest.raises(flags.SettingUnreadable):
        flags.get(flags.SAFE_MODE)


def test_one_unreadable_switch_does_not_hide_the_others() -> None:
    AppSetting.objects.filter(key="envio_campanha").delete()
    switches = flags.read_switches()
    assert switches.unreadable == {"envio_campanha"}
    assert switches["envio_resposta"] is True
    with pytest.raises(flags.SettingUnreadable):
        _ = switches["envio_campanha"]


@pytest.mark.django_db(transaction=True)
def test_switches_of_a_database_that_does_not_answer_are_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    with pytest.raises(flags.SettingUnreadable):
        flags.read_switches()
    with pytest.raises(flags.SettingUnreadable):
        flags.get("safe_mode", fresh=True)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ('\'{"enabled": true, "limite": 7}\'', {"enabled": True, "limite": 7}),
        ("'{\"enabled\": false}'", {"enabled": False, "limite": 5}),
        ('\'{"enabled": false, "limite": "x"}\'', {"enabled": False, "limite": 5}),
        ('\'{"enabled": true, "limite": 0}\'', {"enabled": True, "limite": 5}),
        ('\'{"enabled": "não", "limite": 3}\'', {"enabled": True, "limite": 5}),
        ("'5'", {"enabled": True, "limite": 5}),
        ("NULL", {"enabled": True, "limite": 5}),
    ],
)
def test_the_contact_cap_is_five_unless_readable_and_off_only_when_it_says_so(stored: str, read: dict) -> None:
    sql(f"UPDATE app_settings SET value = {stored} WHERE key = 'contact_cap_7d'")
    assert flags.get(flags.CONTACT_CAP_7D) == read


def test_no_limit_is_null_and_not_the_default() -> None:
    sql("UPDATE app_settings SET value = 'null' WHERE key = 'limite_global_hora'")
    assert flags.get(flags.LIMITE_GLOBAL_HORA) is None
    AppSetting.objects.filter(key="limite_global_hora").delete()
    assert flags.get(flags.LIMITE_GLOBAL_HORA) == 20


def test_a_sending_window_that_cannot_be_read_holds_rather_than_guesses() -> None:
    sql("UPDATE app_settings SET value = '{}' WHERE key = 'janela_envio'")
    with pytest.raises(flags.SettingUnreadable):
        flags.get(flags.JANELA_ENVIO)


def test_an_unknown_key_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(flags.UnknownSetting, match=r"'safemode'.*safe_mode"):
        flags.get("safemode")
    with pytest.raises(flags.UnknownSetting, match="contact_cap_7d"):
        change("contact_cap", 3)


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_a_value_is_at_most_five_seconds_old(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 100.0
    monkeypatch.setattr("core.flags.reading._seconds", lambda: seconds)
    assert flags.get("safe_mode") is False
    sql("UPDATE app_settings SET value = 'true' WHERE key = 'safe_mode'")
    seconds = 104.9
    assert flags.get("safe_mode") is False
    assert flags.get("safe_mode", fresh=True) is True
    sql("UPDATE app_settings SET value = 'false' WHERE key = 'safe_mode'")
    seconds = 110.0
    assert flags.get("safe_mode") is False


@pytest.mark.django_db(transaction=True)
def test_a_change_by_this_process_is_effective_at_once() -> None:
    assert flags.get("safe_mode") is False
    change("safe_mode", value=True)
    assert flags.get("safe_mode") is True


def test_a_change_is_audited_with_before_and_after() -> None:
    change("contact_cap_7d", {"enabled": True, "limite": 3})
    entry = AuditEntry.objects.get()
    assert (entry.acao, entry.entidade, entry.entidade_id) == ("feature_flag_change", "app_settings", "contact_cap_7d")
    assert (entry.usuario, entry.motivo, entry.created_at) == ("ana", MOTIVO, NOW)
    assert entry.detalhes == {
        "antes": {"enabled": True, "limite": 5},
        "depois": {"enabled": True, "limite": 3},
    }
    assert AppSetting.objects.get(key="contact_cap_7d").updated_by == "ana"


def test_setting_a_switch_whose_row_was_deleted_brings_the_row_back() -> None:
    AppSetting.objects.filter(key="safe_mode").delete()
    change("safe_mode", value=True)
    assert flags.get("safe_mode") is True
    assert AuditEntry.objects.get().detalhes == {"antes": None, "depois": True}


def test_without_a_motivo_nothing_changes() -> None:
    with pytest.raises(MotivoMissing, match="10"):
        change("safe_mode", True, motivo="  teste   ")
    assert flags.get("safe_mode") is False
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("safe_mode", "true", "true ou false"),
        ("safe_mode", 1, "true ou false"),
        ("limite_diario_pessoa", 0, "de 1 a 50"),
        ("limite_diario_pessoa", True, "inteiro"),
        ("limite_diario_pessoa", None, "inteiro"),
        ("limite_global_dia", "100", "null para não limitar"),
        ("peso_campanha", 2.5, "inteiro"),
        ("contact_cap_7d", {"enabled": True}, "limite"),
        ("contact_cap_7d", {"enabled": True, "limite": -1}, "limite"),
        ("contact_cap_7d", {"limite": 5}, "enabled"),
        ("contact_cap_7d", {"enabled": True, "limite": 5, "limit": 9}, "enabled"),
        ("janela_envio", {"inicio": "20:00", "fim": "08:00", "dias": [1]}, "antes"),
        ("janela_envio", {"inicio": "8:00", "fim": "20:00", "dias": [1]}, "horas"),
        ("janela_envio", {"inicio": "08:00", "fim": "20:00", "dias": []}, "dias"),
        ("janela_envio", {"inicio": "08:00", "fim": "20:00", "dias": [0]}, "dias"),
        ("pacing_s", {"min": 60, "max": 30}, "min não passa"),
        ("pacing_s", {"min": True, "max": 30}, "segundos"),
        ("environment", "homologacao", "production"),
        ("supabase_project_ref", "x" * 101, "100"),
    ],
)
def test_an_unlawful_value_is_refused_with_a_sentence(key: str, value: object, sentence: str) -> None:
    before = AppSetting.objects.get(key=key).value
    with pytest.raises(flags.InvalidValue, match=sentence):
        change(key, value)
    assert AppSetting.objects.get(key=key).value == before


def test_a_value_is_stored_in_its_normal_form() -> None:
    stored = change("janela_envio", {"inicio": "07:30", "fim": "24:00", "dias": [5, 1, 1]})
    assert stored == {"inicio": "07:30", "fim": "24:00", "dias": [1, 5]} == flags.get(flags.JANELA_ENVIO)


def test_missing_rows_come_back_and_what_is_stored_stays() -> None:
    change("safe_mode", value=True)
    AppSetting.objects.filter(key="worker_fila").delete()
    create_missing_rows()
    assert flags.get("worker_fila") is True
    assert flags.get("safe_mode") is True


def test_a_key_can_be_declared_once_only() -> None:
    with pytest.raises(ValueError, match="twice"):
        registry.register(flags.SAFE_MODE)
