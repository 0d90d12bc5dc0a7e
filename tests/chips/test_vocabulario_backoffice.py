"""Resultados de envio in the backoffice: everybody reads them, supervision adjusts them after seeing the effect."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse

from chips.models import RegraErro
from chips.vocabulario import admin as vocabulario_admin
from chips.vocabulario.catalogo import DEFAULTS, ENTRIES
from chips.vocabulario.services import create_missing_rows, current
from core.backoffice.timeouts import TooSlow
from core.database import execute
from core.models import AuditEntry
from core.rights import Role
from tests import factories
from tests.chips.test_vocabulario_previa import attempt
from tests.julia import backoffice

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

CODIGO = "evolution.http_400"
LIST = "admin:chips_regraerro_changelist"
MOTIVO = "o provedor passou a responder assim ao número"


@pytest.fixture(autouse=True)
def rules() -> None:
    create_missing_rows()


@pytest.fixture
def supervisao() -> Client:
    return backoffice.logged_in(Role.SUPERVISAO)


def page(codigo: str = CODIGO) -> str:
    return reverse("admin:chips_regraerro_change", args=[codigo])


def adjust_page(codigo: str = CODIGO) -> str:
    return reverse("admin:chips_regraerro_ajustar", args=[codigo])


def html(response: Any) -> str:
    return str(response.content.decode())


def hidden(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found
    return found[1]


def answers(**changed: Any) -> dict[str, Any]:
    values = {
        "culpa": "chip",
        "circuito": "chip",
        "descanso_s": 900,
        "frase": DEFAULTS[CODIGO].sentence,
        "dias": 7,
        "motivo": "",
    }
    return values | changed


def previewed(client: Client, **changed: Any) -> str:
    opened = html(client.get(adjust_page()))
    return html(client.post(adjust_page(), answers(visto=hidden(opened, "visto"), **changed)))


def saved(client: Client, preview: str, **changed: Any) -> Any:
    marks = {name: hidden(preview, name) for name in ("visto", "previsto")}
    return client.post(adjust_page(), answers(**({"motivo": MOTIVO, "salvar": "1"} | marks | changed)))


def test_the_list_shows_every_result_of_the_set_and_no_other():
    execute(
        """INSERT INTO regras_de_erro SELECT 'de.outra_versao', provider, pode_ter_saido, culpa, tentar_de_novo,
               circuito, descanso_s, restricao, frase FROM regras_de_erro WHERE codigo = 'rede.tempo'"""
    )
    text = html(backoffice.logged_in(Role.LEITURA).get(reverse(LIST)))
    assert [codigo for codigo in ENTRIES if f">{codigo}<" not in text] == []
    assert "de.outra_versao" not in text


@pytest.mark.parametrize("codigo", ["evolution.exists_false", "evolution.http_400", "evolution.http_5xx", "rede.tempo"])
def test_the_links_of_the_list_lead_to_the_pages(codigo: str):
    client = backoffice.logged_in(Role.LEITURA)
    assert f'href="/admin/chips/regraerro/{quote(codigo)}/change/' in html(client.get(reverse(LIST)))
    for address in (page(codigo), f"/admin/chips/regraerro/{quote(codigo)}/change/"):
        assert ENTRIES[codigo].rule.sentence in html(client.get(address))


def test_a_page_says_why_the_message_may_have_left_and_that_nobody_changes_it(supervisao: Client):
    text = html(supervisao.get(page()))
    assert ENTRIES[CODIGO].reason in text
    assert "Ninguém ajusta" in text
    form = html(supervisao.get(adjust_page()))
    assert "nunca é repetido" in form
    assert 'name="pode_ter_saido"' not in form


@pytest.mark.parametrize("role", [Role.LEITURA, Role.OPERACAO])
def test_only_supervision_adjusts(role: Role):
    client = backoffice.logged_in(role)
    assert "/ajustar/" not in html(client.get(page()))
    assert client.get(adjust_page()).status_code == 403
    assert client.post(adjust_page(), answers(salvar="1", motivo=MOTIVO)).status_code == 403
    assert current() == DEFAULTS


def test_the_first_press_shows_the_effect_and_changes_nothing(supervisao: Client):
    chip, other = factories.chip("julia_5521900005678"), factories.chip()
    for minutes in (30, 20):
        attempt(chip, minutes, CODIGO)
    attempt(other, 10)
    text = previewed(supervisao, restricao="on")
    assert "as 3 tentativas registradas" in text
    assert "2 terminaram com este resultado" in text
    assert "Sairiam da produção: julia_…5678." in text
    assert re.search(r"Chips fora da produção</td><td[^>]*>0</td><td[^>]*>1</td>", text)
    assert "Restrição: tira o chip:</strong> Não → Sim" in text
    assert current() == DEFAULTS


def test_saving_without_having_seen_the_effect_shows_it_first(supervisao: Client):
    opened = html(supervisao.get(adjust_page()))
    response = supervisao.post(
        adjust_page(), answers(descanso_s=60, motivo=MOTIVO, salvar="1", visto=hidden(opened, "visto"), previsto="")
    )
    assert "mudaram depois da prévia" in html(response)
    assert current() == DEFAULTS
    assert saved(supervisao, html(response), descanso_s=60).status_code == 302


def test_the_second_press_saves_exactly_what_was_shown(supervisao: Client):
    response = saved(supervisao, previewed(supervisao, descanso_s=60), descanso_s=60)
    assert response["Location"] == page()
    assert current()[CODIGO] == replace(DEFAULTS[CODIGO], cooldown=timedelta(seconds=60))
    text = html(supervisao.get(page()))
    assert "Descanso do chip: 15 min → 1 min" in text
    assert f"supervisao: “{MOTIVO}”" in text
    assert "regra de erro ajustada" in text
    assert 'title="por supervisao">Ajustada' in html(supervisao.get(reverse(LIST)))


def test_values_that_changed_after_the_preview_are_previewed_again(supervisao: Client):
    response = saved(supervisao, previewed(supervisao, descanso_s=60), descanso_s=61)
    assert "mudaram depois da prévia" in html(response)
    assert current() == DEFAULTS


def test_a_motivo_is_asked_for_at_the_press_that_saves(supervisao: Client):
    preview = previewed(supervisao, descanso_s=60)
    assert "Escreva" not in preview
    assert "Escreva o motivo." in html(saved(supervisao, preview, descanso_s=60, motivo=""))
    assert current() == DEFAULTS


def test_the_slower_of_two_supervisors_is_told(supervisao: Client):
    preview = previewed(supervisao, descanso_s=60)
    execute("UPDATE regras_de_erro SET descanso_s = 30 WHERE codigo = %s", [CODIGO])
    assert "Outra pessoa mudou esta regra" in html(saved(supervisao, preview, descanso_s=60))
    assert current()[CODIGO].cooldown == timedelta(seconds=30)
    assert not AuditEntry.objects.filter(entidade="regras_de_erro").exists()


def test_what_may_have_left_cannot_be_made_repeatable_by_a_forged_form(supervisao: Client):
    preview = previewed(supervisao, descanso_s=60, tentar_de_novo="on")
    assert saved(supervisao, preview, descanso_s=60, tentar_de_novo="on").status_code == 302
    assert not RegraErro.objects.get(pk=CODIGO).tentar_de_novo


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"descanso_s": -1}, "descanso_s"),
        ({"descanso_s": 8 * 86_400}, "descanso_s"),
        ({"frase": " "}, "frase"),
        ({"culpa": "ninguem"}, "culpa"),
        ({"dias": 31}, "dias"),
    ],
)
def test_senseless_values_are_refused_beside_their_field(supervisao: Client, values: dict[str, Any], said: str):
    response = supervisao.post(adjust_page(), answers(**values))
    assert said in response.context["form"].errors
    assert current() == DEFAULTS


def test_the_default_is_restored_through_the_same_preview(supervisao: Client):
    saved(supervisao, previewed(supervisao, descanso_s=60), descanso_s=60)
    assert "?padrao=1" in html(supervisao.get(page()))
    offered = html(supervisao.get(f"{adjust_page()}?padrao=1"))
    assert "Descanso do chip:</strong> 1 min → 15 min" in offered
    assert saved(supervisao, offered).status_code == 302
    assert current() == DEFAULTS
    assert AuditEntry.objects.filter(acao="regra_de_erro_restaurada", entidade_id=CODIGO).count() == 1
    assert "?padrao=1" not in html(supervisao.get(page()))


def test_what_raw_sql_changed_stands_in_the_history_with_its_login(supervisao: Client):
    execute("UPDATE regras_de_erro SET culpa = 'provedor' WHERE codigo = %s", [CODIGO])
    text = html(supervisao.get(page()))
    assert "Culpa: Chip → Provedor" in text
    assert "SQL direto, login julia" in text


def test_a_preview_that_takes_too_long_says_so_and_does_not_stand_in_the_way(
    supervisao: Client, monkeypatch: pytest.MonkeyPatch
):
    def endless(**_values: Any) -> None:
        raise TooSlow

    monkeypatch.setattr(vocabulario_admin, "read", endless)
    preview = previewed(supervisao, descanso_s=60)
    assert "A prévia demorou demais" in preview
    assert saved(supervisao, preview, descanso_s=60).status_code == 302


def test_the_preview_has_a_deadline(supervisao: Client, monkeypatch: pytest.MonkeyPatch):
    def sleeping(**_values: Any) -> None:
        execute("SELECT pg_sleep(5)")

    monkeypatch.setattr(vocabulario_admin, "read", sleeping)
    monkeypatch.setattr(vocabulario_admin, "PREVIEW_DEADLINE_MS", 50)
    assert "A prévia demorou demais" in previewed(supervisao, descanso_s=60)


def test_an_unknown_result_is_not_found(supervisao: Client):
    assert supervisao.get(page("evolution.inventada")).status_code == 404
    assert supervisao.get(adjust_page("evolution.inventada")).status_code == 404
