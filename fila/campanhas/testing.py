"""The test of a text on one number: through the fila like any other message, counted nowhere in the campaign."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from core.audit import services as audit
from core.clientes import names, phones
from core.clientes.ddd import uf_for, zone_for
from core.clientes.models import Cliente
from fila.campanhas import rendering
from fila.campanhas.editing import check_text
from fila.campanhas.errors import CampanhaInexistente, CampanhaInvalida
from fila.campanhas.models import Campanha
from fila.campanhas.textos import text_of
from fila.enqueue import URGENT, enqueue
from guardrails.choices import Kind

TEST_ORIGEM = "teste"
TEST_NAME = "Número de teste"


def test_send(campanha_id: int, *, telefone: str, actor: str, now: datetime) -> UUID:
    """The id of the message, sent as `teste` with sample values where the number's person has none.

    A number nobody knows becomes a person that no audience ever includes. Opt-out and allowlist bind a test as well.
    Raises CampanhaInvalida for a number or a text that cannot be used.
    """
    campanha = Campanha.objects.filter(pk=campanha_id).first()
    if campanha is None:
        raise CampanhaInexistente(campanha_id)
    if errors := check_text(campanha.tipo_campanha, campanha.corpo):
        raise CampanhaInvalida({"corpo": errors})
    try:
        canonical = phones.parse(telefone).e164
    except phones.InvalidPhone as error:
        raise CampanhaInvalida({"telefone": [f"{error.sentence[0].upper()}{error.sentence[1:]}."]}) from None
    with transaction.atomic():
        cliente = _person(canonical)
        mensagem_id = enqueue(
            cliente.pk,
            _text(campanha, cliente),
            tipo=Kind.TESTE.value,
            prioridade=URGENT,
            metadata={"teste_da_campanha": str(campanha.pk), "pedido_por": actor},
        )
        detalhes = {"mensagem": str(mensagem_id), "telefone": phones.mask(canonical)}
        audit.record("campanha_teste_enviado", "campanha", campanha.pk, usuario=actor, detalhes=detalhes)
    return mensagem_id


test_send.__test__ = False  # type: ignore[attr-defined]  # pytest: a service, not a test


def _person(canonical: str) -> Cliente:
    cliente, _ = Cliente.objects.get_or_create(
        telefone=canonical,
        defaults={
            "nome": TEST_NAME,
            "nome_busca": names.search_key(TEST_NAME),
            "estado": uf_for(canonical) or "",
            "fuso": zone_for(canonical).key,
            "origem": TEST_ORIGEM,
        },
    )
    return cliente


def _text(campanha: Campanha, cliente: Cliente) -> str:
    known = {} if cliente.origem == TEST_ORIGEM else rendering.person_of(cliente)
    person = dict(rendering.SAMPLE_PERSON) | {name: value for name, value in known.items() if value.strip()}
    text = rendering.render(rendering.compile(text_of(campanha)), person)
    if isinstance(text, rendering.Missing):
        raise CampanhaInvalida({"corpo": [f"Este número não tem {text.variable} no cadastro, e o texto precisa."]})
    return text
