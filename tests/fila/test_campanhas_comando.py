"""`manage.py campanha`: everything the backoffice does, for scripts and for people at a terminal."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from core import clock
from core.audit.models import AuditEntry
from fila.management.commands.campanha import Command
from fila.models import Campanha, Mensagem
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_operation")]

MOTIVO = "motivo escrito no teste"


def run(*args: object) -> dict[str, Any]:
    out = StringIO()
    call_command("campanha", *map(str, args), "--json", stdout=out)
    result: dict[str, Any] = json.loads(out.getvalue())
    return result


def said(*args: object) -> str:
    out = StringIO()
    call_command("campanha", *map(str, args), stdout=out)
    return out.getvalue()


def refused(*args: object) -> tuple[int, str]:
    with pytest.raises(CommandError) as error:
        call_command("campanha", *map(str, args), stdout=StringIO())
    return error.value.returncode, str(error.value)


def created(*args: object) -> int:
    number: int = run("criar", "--nome", "Plantões", "--tipo", "oferta", "--corpo", "Oi {nome}", *args)["id"]
    return number


def exit_code(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    """As the shell sees it: exit code, stdout, stderr."""
    try:
        with patch("django.core.management.base.connections.close_all"):  # the test's transaction goes on
            Command().run_from_argv(["manage.py", "campanha", *map(str, args)])
    except SystemExit as end:
        code = int(end.code or 0)
    else:
        code = 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_campaign_lives_its_whole_life_from_the_terminal():
    factories.clientes(2)
    number = created("--filtros", '{"quantidade_alvo": 5}', "--usuario", "bia")
    assert run("previa", number)["total"] == 2
    assert run("iniciar", number, "--usuario", "bia")["pendentes"] == 2
    assert run("pausar", number, "--motivo", MOTIVO)["status"] == "pausada"
    assert run("retomar", number, "--motivo", MOTIVO)["status"] == "ativa"
    assert run("cancelar", number, "--motivo", MOTIVO)["canceladas"] == 2
    assert run("status", number)["status"] == "cancelada"
    assert AuditEntry.objects.get(acao="campanha_iniciada").usuario == "bia"


def test_every_answer_in_json_is_one_object():
    number = created()
    copy = run("duplicar", number)
    assert (copy["nome"], copy["status"]) == ("Plantões (cópia)", "rascunho")
    assert run("editar", number, "--nome", "Outro nome")["nome"] == "Outro nome"
    assert run("agendar", number, "--para", "2099-11-25T09:00")["agendar_para"] == "2099-11-25T12:00:00Z"
    assert run("desagendar", number)["status"] == "rascunho"
    assert run("apagar", copy["id"]) == {"id": copy["id"], "apagada": True}
    assert [one["nome"] for one in run("listar", "--status", "rascunho")["campanhas"]] == ["Outro nome"]


def test_a_test_message_is_put_into_the_fila():
    message = run("testar", created(), "--telefone", "11 90000-0001")["mensagem"]
    assert Mensagem.objects.get(pk=message).tipo == "teste"


def test_the_text_may_come_from_a_file(tmp_path: Path):
    file = tmp_path / "texto.txt"
    file.write_text("Oi {nome},\ntudo bem?\n", encoding="utf-8")
    number = run("criar", "--nome", "x", "--tipo", "oferta", "--corpo-arquivo", file)["id"]
    assert Campanha.objects.get(pk=number).corpo == "Oi {nome},\ntudo bem?"


def test_people_read_sentences():
    factories.cliente(primeiro_nome="Ana", nome="Ana Souza", status_telefone="invalido")
    number = created()
    text = said("previa", number)
    assert "telefone inválido: 1" in text
    assert "aviso: Ninguém receberia esta campanha" in text
    assert "rascunho" in said("listar")
    assert said("status", number).splitlines()[1] == "status: rascunho"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["iniciar", 404], "A campanha 404 não existe."),
        (["status", 404], "A campanha 404 não existe."),
        (["previa", 404], "A campanha 404 não existe."),
    ],
)
def test_what_does_not_exist_is_refused(args: list[object], sentence: str):
    assert refused(*args) == (1, sentence)


def test_what_the_state_forbids_is_refused_and_names_the_state():
    code, sentence = refused("pausar", created(), "--motivo", MOTIVO)
    assert (code, sentence.endswith("está rascunho agora e só se pausa uma campanha ativa.")) == (1, True)


def test_a_stored_text_that_cannot_be_sent_is_a_refusal_of_the_start():
    number = created()
    Campanha.objects.filter(pk=number).update(corpo="Oi {vaga}")
    assert refused("iniciar", number)[0] == 1


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["criar", "--nome", "x", "--tipo", "y", "--corpo", "Oi"], "tipo: O tipo 'y' não existe."),
        (["criar", "--nome", "x", "--tipo", "oferta", "--corpo", "{"], "corpo: Há uma chave"),
        (["criar", "--nome", "x", "--tipo", "oferta", "--corpo", "Oi", "--filtros", '{"x": 1}'], "x: O filtro 'x'"),
        (["criar", "--nome", "x", "--tipo", "oferta", "--corpo-arquivo", "/nada"], "não consegui ler /nada"),
        (["criar", "--nome", "x", "--tipo", "oferta", "--corpo", "Oi", "--agendar-para", "2020-01-01T09:00"],
         "agendar_para: O início"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_used_end_with_2(args: list[object], sentence: str):
    code, message = refused(*args)
    assert code == 2
    assert message.startswith(sentence)


@pytest.mark.parametrize(
    ("act", "args"),
    [("pausar", ["--motivo", "curto"]), ("testar", ["--telefone", "abc"]), ("editar", []),
     ("agendar", ["--para", "2020-01-01T09:00"])],
)  # fmt: skip
def test_so_do_unusable_values_for_an_existing_campaign(act: str, args: list[object]):
    assert refused(act, created(), *args)[0] == 2


def test_the_shell_sees_codes_and_errors_on_stderr(capsys: pytest.CaptureFixture[str]):
    number = created()
    code, out, err = exit_code(capsys, "pausar", number, "--motivo", MOTIVO)
    assert (code, out) == (1, "")
    assert "só se pausa uma campanha ativa" in err
    code, out, err = exit_code(capsys, "criar", "--nome", "só o nome")
    assert (code, out) == (2, "")
    assert "--tipo" in err
    code, out, err = exit_code(capsys, "agendar", number, "--para", "amanhã")
    assert code == 2
    assert "não é data e hora" in err
    code, out, _ = exit_code(capsys, "criar", "--nome", "x", "--tipo", "oferta", "--filtros", "[]")
    assert (code, out) == (2, "")


def test_an_hour_without_zone_is_brasilias():
    in_a_week = (clock.now() + timedelta(days=7)).astimezone(clock.BRASILIA).replace(microsecond=0, tzinfo=None)
    number = created("--agendar-para", in_a_week.isoformat())
    moment = Campanha.objects.get(pk=number).agendar_para
    assert moment == in_a_week.replace(tzinfo=clock.BRASILIA)
    assert moment.astimezone(UTC) == datetime.fromisoformat(f"{in_a_week.isoformat()}-03:00")
