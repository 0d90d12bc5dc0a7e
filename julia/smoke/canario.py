"""A message to nobody: its own person and chip exist only while it is under way, and no list, limit or rule sees them.

The chip's provider is the null one and its status `provisioned`, so that no selection, share or alert counts it; the
person is marked as deleted, and both telephones begin with a country code that does not exist.
"""

import secrets
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from chips.choices import NULL_PROVIDER, ChipStatus
from chips.models import Chip
from chips.providers.nulo import message_id_of
from core.clientes.models import Cliente
from core.clock import Agora
from core.database import execute, rows, wait_briefly_for_locks
from core.health import beats
from fila.enqueue import enqueue
from fila.kinds import CANARIO
from julia.smoke.report import Parte

NAME = "fila e worker"
NOWHERE = "999"  # no country has this code
FIRST_OF_ALL = 10
STAND_IN = "job:"  # the consumer that drains while no worker lives
LOCK_MS = 1000
DIAGNOSE = "Rode python manage.py diagnostico."


@dataclass(frozen=True, slots=True)
class Canary:
    mensagem_id: UUID
    texto: str


def place() -> Canary:
    """Put one into the fila; the worker is woken at the commit."""
    word = secrets.token_hex(8)
    texto = f"Canário {word}"
    with transaction.atomic():
        pessoa = Cliente.objects.create(
            telefone=_nowhere(),
            nome="Canário",
            origem="teste",
            status_telefone=Cliente.StatusTelefone.INVALIDO,
            deleted_at=Agora(),
        )
        Chip.objects.create(
            telefone=_nowhere(),
            instance_name=f"canario-{word}",
            provider=NULL_PROVIDER,
            status=ChipStatus.PROVISIONED,
            pode_responder=False,
        )
        mensagem = enqueue(pessoa.pk, texto, tipo=CANARIO, prioridade=FIRST_OF_ALL)
    return Canary(mensagem, texto)


def _nowhere() -> str:
    return NOWHERE + "".join(secrets.choice("0123456789") for _ in range(12))


# tentativas_at_most_one_that_may_have_left: by origem, origem_id
_STORY = """
SELECT m.status, m.outcome_reason_code AS motivo, m.lease_owner, t.resultado, t.provider_message_id, t.consumidor,
       extract(epoch FROM coalesce(t.encerrado_em, agora()) - m.created_at)::float AS segundos
FROM fila_mensagens m LEFT JOIN envios_tentativas t ON t.origem = 'fila' AND t.origem_id = m.id
WHERE m.id = %s ORDER BY t.id DESC NULLS LAST LIMIT 1
"""


def look(canary: Canary) -> Parte:
    """Where it is. It has arrived when a worker gave this very text to the null provider and wrote down its answer."""
    found = rows(_STORY, [canary.mensagem_id])
    if not found:
        return _missing("a linha do canário sumiu da fila: alguém a apagou", "Rode o smoke outra vez.")
    story = found[0]
    if story["status"] != "enviada":
        return _missing(*_where(story["status"], story["motivo"] or "", story["lease_owner"]))
    if story["resultado"] != "enviado" or story["provider_message_id"] != message_id_of(canary.texto):
        return _missing("a mensagem consta como enviada, mas o provedor nulo não a recebeu", DIAGNOSE)
    if story["consumidor"].startswith(STAND_IN):
        return _missing(
            "quem levou foi o job de reserva (processar_mensagens_agendadas): nenhum worker está consumindo a fila",
            "Inicie-o: python manage.py servir --papel worker.",
        )
    return Parte(NAME, True, segundos=round(story["segundos"], 2), por=story["consumidor"])


def _missing(detalhe: str, proximo: str) -> Parte:
    return Parte(NAME, False, detalhe=detalhe, proximo=proximo)


def _where(status: str, motivo: str, owner: str) -> tuple[str, str]:
    if status == "pendente":
        newest = beats.newest("worker")
        if newest is None or newest.encerrado_em is not None:
            return "ninguém a tomou da fila, e não há worker", "Inicie-o: python manage.py servir --papel worker."
        return "ninguém a tomou da fila, embora haja um worker", DIAGNOSE
    if status == "processando":
        return f"{owner} a tomou e não a terminou", "Veja o log desse processo."
    if status == "incerta":
        return "o processo que a levava parou no meio", "Veja no log do worker por que ele parou."
    return f"terminou como {status} ({motivo})", DIAGNOSE


def remove_all() -> None:
    """Take away every canary there is, of this run or of one that was killed, with all that its way has left.

    One transaction, locks in the order of the send path (pessoa, chip, mensagem): an attempt that is open at this
    moment is settled first. Raises OperationalError when somebody holds one of the rows for longer than a second.
    """
    with transaction.atomic():
        wait_briefly_for_locks(LOCK_MS)
        people = _ids(
            """SELECT d.cliente_id AS id FROM doctor_state d JOIN clientes c ON c.id = d.cliente_id
               WHERE c.telefone LIKE %s AND c.origem = 'teste' AND c.deleted_at IS NOT NULL
               ORDER BY d.cliente_id FOR UPDATE OF d""",
            [NOWHERE + "%"],
        )
        chips = _ids("SELECT id FROM chips WHERE provider = %s ORDER BY id FOR UPDATE", [NULL_PROVIDER])
        messages = _ids(
            "SELECT id FROM fila_mensagens WHERE cliente_id = ANY(%s) AND tipo = %s ORDER BY id FOR UPDATE",
            [people, CANARIO],
        )
        selections = _ids(
            """WITH gone AS (DELETE FROM envios_tentativas WHERE chip_id = ANY(%s) RETURNING selecao_id)
               SELECT DISTINCT selecao_id AS id FROM gone WHERE selecao_id IS NOT NULL""",
            [chips],
        )
        for statement, ids in (
            ("DELETE FROM fila_eventos WHERE mensagem_id = ANY(%s)", messages),
            ("DELETE FROM fila_mensagens_dlq WHERE mensagem_original_id = ANY(%s)", messages),
            ("DELETE FROM interacoes WHERE cliente_id = ANY(%s)", people),
            (
                """DELETE FROM conversation_context
                   WHERE lead_phone IN (SELECT telefone FROM clientes WHERE id = ANY(%s))""",
                people,
            ),
            ("DELETE FROM conversation_chips WHERE chip_id = ANY(%s)", chips),
            ("DELETE FROM fila_mensagens WHERE id = ANY(%s)", messages),
            ("DELETE FROM conversations WHERE cliente_id = ANY(%s)", people),
            ("DELETE FROM chip_interactions WHERE chip_id = ANY(%s)", chips),
            (
                "DELETE FROM limites_minutos WHERE escopo IN (SELECT 'chip:' || id FROM unnest(%s::uuid[]) AS u(id))",
                chips,
            ),
            ("DELETE FROM chips WHERE id = ANY(%s)", chips),
            ("DELETE FROM chips_history WHERE id = ANY(%s)", chips),
            ("DELETE FROM doctor_state WHERE cliente_id = ANY(%s)", people),
            ("DELETE FROM doctor_state_history WHERE cliente_id = ANY(%s)", people),
            ("DELETE FROM clientes WHERE id = ANY(%s)", people),
            (
                """DELETE FROM chip_selection_log s WHERE id = ANY(%s)
                   AND NOT EXISTS (SELECT 1 FROM envios_tentativas t WHERE t.selecao_id = s.id)""",
                selections,
            ),
        ):
            execute(statement, [ids])


def _ids(sql: str, params: list[object]) -> list[object]:
    return [row["id"] for row in rows(sql, params)]
