"""Everything the backoffice can do to a campaign, from a terminal: `manage.py campanha AÇÃO …`.

Results go to stdout, as one JSON object with `--json`; errors to stderr. Exit 0: done. 1: refused (the campaign's state
forbids it, or it does not exist). 2: the arguments cannot be used.
"""

import argparse
import getpass
import json
import logging
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from core import clock
from fila.campanhas import services
from fila.campanhas.errors import CampanhaError, CampanhaInexistente, CampanhaInvalida
from fila.campanhas.models import Campanha
from fila.campanhas.planning import spoken
from fila.campanhas.preview import preview
from fila.campanhas.status import summary
from fila.choices import CampanhaStatus, MotivoExclusao, TipoCampanha

REFUSED, UNUSABLE = 1, 2
LISTED = 200

Result = dict[str, Any]
Options = dict[str, Any]


class Command(BaseCommand):
    help = "Cria, mostra e conduz campanhas: tudo o que o backoffice faz, com --json para scripts."

    def run_from_argv(self, argv: list[str]) -> None:
        """Log lines go to stderr here: a script reads stdout."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
                handler.setStream(sys.stderr)
        super().run_from_argv(argv)

    def add_arguments(self, parser: CommandParser) -> None:
        common = CommandParser(add_help=False)
        common.add_argument("--json", action="store_true", dest="as_json", help="resultado como um objeto JSON")
        common.add_argument("--usuario", default="", help="quem faz (fica na auditoria)")
        actions = parser.add_subparsers(dest="acao", required=True, metavar="AÇÃO")

        def action(name: str, text: str, *, of_one: bool = True) -> argparse.ArgumentParser:
            sub: argparse.ArgumentParser = actions.add_parser(name, help=text, parents=[common])
            if of_one:
                sub.add_argument("id", type=int, help="número da campanha")
            return sub

        create = action("criar", "cria um rascunho, ou uma campanha agendada", of_one=False)
        _content_options(create, creating=True)
        _content_options(action("editar", "muda uma campanha que ainda não começou"), creating=False)
        action("previa", "quem receberia, com que texto, quem não e por quê, e até quando")
        action("agendar", "marca o início").add_argument("--para", required=True, type=_instant, help=_INSTANT_HELP)
        action("desagendar", "volta a rascunho")
        action("iniciar", "começa agora")
        for name, text in (("pausar", "para os envios, guarda as mensagens"), ("retomar", "continua"),
                           ("cancelar", "cancela tudo o que está pendente")):  # fmt: skip
            action(name, text).add_argument("--motivo", required=True, help="pelo menos 10 caracteres")
        action("duplicar", "novo rascunho com o mesmo texto e público")
        action("apagar", "apaga um rascunho")
        action("testar", "envia o texto a um número").add_argument("--telefone", required=True)
        action("status", "os números da campanha")
        listing = action("listar", "as campanhas mais novas", of_one=False)
        listing.add_argument("--status", choices=CampanhaStatus.values, dest="only_status")

    def handle(self, *args: Any, **options: Any) -> None:
        options["actor"] = options["usuario"] or f"terminal:{getpass.getuser()}"
        options["now"] = clock.database_now()
        try:
            result = _ACTIONS[options["acao"]](options)
        except CampanhaInvalida as error:
            own_fault = options["acao"] in _TAKES_CONTENT
            raise CommandError(_by_field(error), returncode=UNUSABLE if own_fault else REFUSED) from None
        except CampanhaError as error:
            raise CommandError(error.sentence, returncode=REFUSED) from None
        if options["as_json"]:
            self.stdout.write(json.dumps(result, cls=DjangoJSONEncoder, ensure_ascii=False))
        else:
            self.stdout.write(_as_text(result, options["now"]))


_INSTANT_HELP = "data e hora, por exemplo 2026-11-25T09:00 (Brasília, se não houver fuso)"


def _content_options(parser: argparse.ArgumentParser, *, creating: bool) -> None:
    parser.add_argument("--nome", required=creating)
    parser.add_argument("--tipo", required=creating, help=", ".join(TipoCampanha.values))
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--corpo", help="o texto, com variáveis como {primeiro_nome|doutor(a)}")
    text.add_argument("--corpo-arquivo", type=Path, help="arquivo UTF-8 com o texto")
    parser.add_argument("--filtros", type=_json_object, help='JSON, por exemplo {"especialidades": ["Cardiologia"]}')
    parser.add_argument("--agendar-para", type=_instant, help=_INSTANT_HELP)
    parser.add_argument("--tom")
    parser.add_argument("--objetivo")
    parser.add_argument("--pode-ofertar", action=argparse.BooleanOptionalAction)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} não é {_INSTANT_HELP}") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=clock.BRASILIA)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"JSON inválido: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("os filtros são um objeto JSON, entre chaves")
    return value


def _content(options: Options) -> services.Changes:
    """Only what was given on the command line."""
    if options["corpo_arquivo"] is not None:
        try:
            options["corpo"] = options["corpo_arquivo"].read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"não consegui ler {options['corpo_arquivo']}: {error}", returncode=UNUSABLE) from None
    names = {"filtros": "filters"}
    given = {
        names.get(key, key): options[key]
        for key in ("nome", "tipo", "corpo", "filtros", "agendar_para", "tom", "objetivo", "pode_ofertar")
        if options[key] is not None
    }
    return services.Changes(**given)  # type: ignore[typeddict-item]


def _create(options: Options) -> Result:
    return _described(services.create(**_content(options), actor=options["actor"], now=options["now"]))


def _edit(options: Options) -> Result:
    changes = _content(options)
    if not changes:
        raise CommandError("diga o que mudar: --nome, --corpo, --filtros, …", returncode=UNUSABLE)
    return _described(services.edit(options["id"], actor=options["actor"], now=options["now"], **changes))


def _preview(options: Options) -> Result:
    campanha = Campanha.objects.filter(pk=options["id"]).first()
    if campanha is None:
        raise CampanhaInexistente(options["id"])
    return {"id": campanha.pk, **preview(campanha, now=options["now"]).as_json()}


def _schedule(options: Options) -> Result:
    return _described(
        services.schedule(options["id"], agendar_para=options["para"], actor=options["actor"], now=options["now"])
    )


def _on_one(service: Callable[..., Campanha]) -> Callable[[Options], Result]:
    """A service that needs nothing but the campaign, and answers with it."""
    return lambda options: _described(service(options["id"], actor=options["actor"], now=options["now"]))


def _start(options: Options) -> Result:
    services.start(options["id"], actor=options["actor"], now=options["now"])
    return summary(options["id"])


def _with_motivo(service: Callable[..., object]) -> Callable[[Options], Result]:
    def run(options: Options) -> Result:
        service(options["id"], motivo=options["motivo"], actor=options["actor"], now=options["now"])
        return summary(options["id"])

    return run


def _delete(options: Options) -> Result:
    services.delete(options["id"], actor=options["actor"])
    return {"id": options["id"], "apagada": True}


def _test(options: Options) -> Result:
    mensagem = services.test_send(
        options["id"], telefone=options["telefone"], actor=options["actor"], now=options["now"]
    )
    return {"id": options["id"], "mensagem": str(mensagem)}


def _status(options: Options) -> Result:
    return summary(options["id"])


def _list(options: Options) -> Result:
    campanhas = Campanha.objects.order_by("-id")
    if options["only_status"]:
        campanhas = campanhas.filter(status=options["only_status"])
    return {"campanhas": [_described(campanha) for campanha in campanhas[:LISTED]]}


_ACTIONS: dict[str, Callable[[Options], Result]] = {
    "criar": _create,
    "editar": _edit,
    "previa": _preview,
    "agendar": _schedule,
    "desagendar": _on_one(services.unschedule),
    "iniciar": _start,
    "pausar": _with_motivo(services.pause),
    "retomar": _with_motivo(services.resume),
    "cancelar": _with_motivo(services.cancel),
    "duplicar": _on_one(services.duplicate),
    "apagar": _delete,
    "testar": _test,
    "status": _status,
    "listar": _list,
}
# Where CampanhaInvalida is about what was typed, not about the stored row.
_TAKES_CONTENT = frozenset({"criar", "editar", "agendar", "pausar", "retomar", "cancelar", "testar"})


def _described(campanha: Campanha) -> Result:
    return {
        "id": campanha.pk,
        "nome": campanha.nome_template,
        "tipo": str(campanha.tipo_campanha),
        "status": str(campanha.status),
        "agendar_para": campanha.agendar_para,
        "iniciada_em": campanha.iniciada_em,
        "concluida_em": campanha.concluida_em,
        "total_destinatarios": campanha.total_destinatarios,
        "termina_em": campanha.termina_em,
    }


def _by_field(error: CampanhaInvalida) -> str:
    return "\n".join(
        f"{field}: {sentence}" if field else sentence for field, texts in error.erros.items() for sentence in texts
    )


def _as_text(result: Result, now: datetime) -> str:
    if "campanhas" in result:
        lines = [f"{one['id']:>6}  {one['status']:<10}  {one['nome']}" for one in result["campanhas"]]
        return "\n".join(lines) or "Nenhuma campanha."
    return "\n".join(line for key, value in result.items() for line in _lines(key, value, now))


def _lines(key: str, value: Any, now: datetime) -> list[str]:
    if key == "excluidas":
        return ["excluidas:"] + [f"  {MotivoExclusao(motivo).label}: {count}" for motivo, count in value.items()]
    if key == "amostra":
        return ["amostra:"] + [f"  {one['telefone']}  {one['nome']}: {one['texto']}" for one in value]
    if key == "plano":
        return ["plano:"] + [f"  {one['dia']}: {one['quantidade']}" for one in value["dias"]]
    if key in ("erros", "avisos"):
        return [f"{key.removesuffix('s')}: {sentence}" for sentence in value]
    if isinstance(value, datetime):
        return [f"{key}: {spoken(value, now)}"]
    return [] if value is None else [f"{key}: {value}"]
