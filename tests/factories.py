"""Invented people and chips, on numbers that cannot exist, and the settings of an operation that is open all day."""

import itertools
import json
import uuid
from typing import Any

from chips.models import Chip
from core.clientes.models import Cliente
from core.database import execute
from fila.models import Campanha, Conversa, Interacao, Mensagem

_numbers = itertools.count(1)

OPEN_ALL_DAY = {"inicio": "00:00", "fim": "24:00", "dias": [1, 2, 3, 4, 5, 6, 7]}
NORMAL_SWITCHES = {
    "operacao_pausada": False,
    "envio_travado": False,
    "worker_fila": True,
    "campaigns_enabled": True,
    "safe_mode": False,
    "envio_campanha": True,
    "envio_prospeccao": True,
    "envio_followup": True,
    "envio_resposta": True,
}


def set_setting(key: str, value: Any) -> None:
    """Raw, as an operator's SQL would do it."""
    execute(
        """INSERT INTO app_settings (key, value) VALUES (%s, %s)
           ON CONFLICT (key) DO UPDATE SET value = excluded.value""",
        [key, json.dumps(value)],
    )


def open_operation(**overrides: Any) -> None:
    """Switches in their normal position, hours open all day, no global limit, no pause between sends."""
    values = NORMAL_SWITCHES | {
        "janela_envio": OPEN_ALL_DAY,
        "limite_global_hora": None,
        "limite_global_dia": None,
        "pacing_s": {"min": 0, "max": 0},
    }
    for key, value in (values | overrides).items():
        set_setting(key, value)


def cliente(**values: Any) -> Cliente:
    number = next(_numbers)
    defaults = {
        "telefone": f"55119{number:08d}",
        "nome": f"Médica Inventada {number}",
        "primeiro_nome": "Médica",
        "sobrenome": f"Inventada {number}",
        "status_telefone": "validado",
    }
    return Cliente.objects.create(**(defaults | values))


def clientes(count: int) -> list[Cliente]:
    first = next(_numbers)
    for _ in range(count):
        next(_numbers)
    return Cliente.objects.bulk_create(
        Cliente(
            id=uuid.uuid4(),
            telefone=f"55119{first + n:08d}",
            nome=f"Médico Inventado {first + n}",
            primeiro_nome="Médico",
            status_telefone="validado",
        )
        for n in range(count)
    )


def chip(name: str | None = None, **values: Any) -> Chip:
    number = next(_numbers)
    defaults: dict[str, Any] = {
        "telefone": f"55219{number:08d}",
        "instance_name": name or f"julia_{number}",
        "status": "active",
        "evolution_connected": True,
        "connection_state": "open",
        "webhook_secret": f"segredo-{number}",
        "trust_score": 85,
        "trust_level": "verde",
        "pode_prospectar": True,
        "pode_followup": True,
        "pode_responder": True,
        "limite_hora": 100_000,
        "limite_dia": 100_000,
        "delay_minimo_segundos": 0,
    }
    return Chip.objects.create(**(defaults | values))


def campanha(**values: Any) -> Campanha:
    defaults = {"nome_template": "Campanha inventada", "status": "ativa", "corpo": "Olá {primeiro_nome|colega}!"}
    return Campanha.objects.create(**(defaults | values))


def mensagem(**values: Any) -> Mensagem:
    person = values.pop("cliente", None) or cliente()
    number = next(_numbers)
    defaults = {
        "conteudo": f"Olá, esta é a mensagem {number}.",
        "tipo": "campanha" if values.get("campanha") else "lembrete",
    }
    return Mensagem.objects.create(cliente=person, **(defaults | values))


def resposta(**values: Any) -> Mensagem:
    """A reply with its proof: the doctor wrote a moment ago."""
    person = values.pop("cliente", None) or cliente()
    conversa, _ = Conversa.objects.get_or_create(cliente=person, lead_phone=person.telefone)
    proof = Interacao.objects.create(
        conversation=conversa,
        cliente=person,
        origem="whatsapp_inbound",
        tipo="entrada",
        conteudo="Quero saber mais.",
        autor_tipo="medico",
    )
    defaults = {"tipo": "resposta", "conversa": conversa, "inbound_interacao_id": proof.id}
    return mensagem(cliente=person, **(defaults | values))


def mensagens(count: int, **values: Any) -> list[Mensagem]:
    """One message for each of `count` new people."""
    people = clientes(count)
    tipo = values.pop("tipo", "campanha" if values.get("campanha") else "lembrete")
    return Mensagem.objects.bulk_create(
        Mensagem(
            id=uuid.uuid4(),
            cliente=person,
            telefone_destino=person.telefone,
            conteudo=f"Olá, mensagem para {person.nome}.",
            tipo=tipo,
            **values,
        )
        for person in people
    )
