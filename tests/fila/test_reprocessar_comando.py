"""`manage.py reprocessar`: what scripts and people on a terminal get."""

import io
import json
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command

from fila.models import Mensagem, MensagemDlq, Reprocessamento
from fila.reprocessar import services
from tests import factories
from tests.fila.failures import failed, failures

pytestmark = pytest.mark.django_db

MOTIVO = "o provedor voltou a responder"


def said(*arguments: str) -> str:
    out = io.StringIO()
    call_command("reprocessar", *arguments, stdout=out)
    return out.getvalue()


def told(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(*arguments, "--json"))
    return found


def refused(*arguments: str) -> tuple[int, str]:
    with pytest.raises(CommandError) as error:
        said(*arguments)
    return error.value.returncode, str(error.value)


def test_the_dry_run_says_what_the_run_then_does() -> None:
    failures(4, campanha=factories.campanha())
    failed(quarentena=True)
    failed(attempts=("desconhecido",))
    planned = told("--tudo", "--dry-run")
    assert planned == {
        "dry_run": True, "total": 6, "reprocessadas": 4,
        "recusas": {"quarentena": 1, "tentativa_desconhecida": 1},
    }  # fmt: skip
    assert not Mensagem.objects.pendentes().exists()
    done = told("--tudo", "--motivo", MOTIVO, "--usuario", "ana")
    run = Reprocessamento.objects.get()
    assert done == {
        "reprocessamento": str(run.pk), "total": 6, "reprocessadas": 4, "recusas": planned["recusas"],
        "concluido": True,
    }  # fmt: skip
    assert (run.usuario, run.motivo) == ("ana", MOTIVO)


def test_filters_and_ids_name_what_is_taken() -> None:
    campanha = factories.campanha()
    failures(3, campanha=campanha)
    other = failed(outcome="FAILED_BANNED", outcome_reason_code="banned")
    assert told("--campanha", str(campanha.pk), "--dry-run")["total"] == 3
    assert told("--outcome", "FAILED_BANNED", "--motivo-codigo", "ban", "--dry-run")["total"] == 1
    assert told("--id", str(other.pk), "--motivo", MOTIVO)["reprocessadas"] == 1


def test_as_text_it_names_each_reason() -> None:
    failed()
    failed(quarentena=True)
    text = said("--tudo", "--dry-run")
    assert "1 de 2 falhas seriam reprocessadas" in text
    assert "1 ficam: está em quarentena" in text


def test_a_large_run_is_finished_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "AT_ONCE", 2)
    monkeypatch.setattr(services, "BATCH", 2)
    failures(7)
    with patch("fila.reprocessar.services.async_task"):
        assert told("--tudo", "--motivo", MOTIVO) | {"reprocessamento": ""} == {
            "reprocessamento": "", "total": 7, "reprocessadas": 7, "recusas": {}, "concluido": True,
        }  # fmt: skip


def test_one_can_be_forced_and_says_which_message_it_became() -> None:
    falha = failed(attempts=("desconhecido",))
    assert told("--id", str(falha.pk), "--motivo", MOTIVO)["recusas"] == {"tentativa_desconhecida": 1}
    done = told("--id", str(falha.pk), "--forcar", "--motivo", MOTIVO)
    assert str(Mensagem.objects.pendentes().get().pk) == done["mensagem"]
    assert refused("--id", str(falha.pk), "--forcar", "--motivo", MOTIVO)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--motivo", MOTIVO], "diga o que reprocessar"),
        (["--quarentena", "--motivo", MOTIVO], "diga o que reprocessar"),
        (["--tudo"], "motivo de 10"),
        (["--tudo", "--forcar", "--motivo", MOTIVO], "uma falha só"),
        (["--id", "abc", "--motivo", MOTIVO], "não é um id"),
        (["--outcome", "FALHOU", "--dry-run"], "não é um resultado"),
        (["--desde", "ontem", "--dry-run"], "não é uma data"),
    ],
)
def test_arguments_that_cannot_be_used_are_explained(arguments: list[str], sentence: str) -> None:
    failed()
    code, text = refused(*arguments)
    assert (code, sentence in text) == (2, True), text
    assert not MensagemDlq.objects.filter(reprocessado=True).exists()
