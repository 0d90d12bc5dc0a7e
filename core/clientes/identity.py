"""Whose number is this? One person for every spelling of a number and for the LID that hides it."""

from uuid import UUID

from core.clientes import phones
from core.clientes.models import Cliente, ClienteJid
from core.database import execute

# A sighting is news when the jid moved to another person or was not seen for a day: most webhooks write nothing.
_LEARN = """
    INSERT INTO clientes_jids (jid, cliente_id, kind) VALUES (%s, %s, %s)
    ON CONFLICT (jid) DO UPDATE SET cliente_id = EXCLUDED.cliente_id, visto_em = agora()
    WHERE clientes_jids.cliente_id <> EXCLUDED.cliente_id OR clientes_jids.visto_em < agora() - interval '1 day'
"""


def resolve(jid_or_phone: str) -> UUID | None:
    """The client of a jid, a LID or a number in any accepted spelling; None for strangers, groups and nonsense.

    The canonical number decides; the jids seen for a client answer for LIDs.
    """
    if not jid_or_phone.isprintable():
        return None
    is_jid = "@" in jid_or_phone
    canonical = phones.canonical_from_jid(jid_or_phone) if is_jid else _canonical(jid_or_phone)
    if canonical and (cliente_id := _by_number(canonical)):
        return cliente_id
    if not is_jid:
        return None
    return ClienteJid.objects.filter(jid=phones.bare_jid(jid_or_phone)).values_list("cliente_id", flat=True).first()


def _canonical(raw: str) -> str | None:
    try:
        return phones.parse(raw).e164
    except phones.InvalidPhone:
        return None


def _by_number(canonical: str) -> UUID | None:
    found = dict(Cliente.objects.filter(telefone__in=phones.variants(canonical)).values_list("telefone", "id"))
    return found.get(canonical) or next(iter(found.values()), None)


def learn(jid: str | None, lid: str | None, cliente: Cliente) -> None:
    """Remember the identities under which a provider spoke of this client.

    A LID belongs to whom it was seen with last (a person may change numbers). A jid that is the number of somebody
    else is a mis-delivery, not an identity: it is not learned.
    """
    if jid and phones.canonical_from_jid(jid) == cliente.telefone:
        execute(_LEARN, [phones.bare_jid(jid), cliente.pk, ClienteJid.Kind.PN])
    if lid and phones.is_lid(lid):
        execute(_LEARN, [phones.bare_jid(lid), cliente.pk, ClienteJid.Kind.LID])
