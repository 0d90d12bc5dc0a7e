"""Chips of the simulator whose webhooks reach Julia, and time that passes for one attempt."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connection
from django.test import Client

from chips import addresses
from chips.models import Chip, EventoRecebido, Tentativa
from chips.providers.base import SendResult
from chips.providers.registry import provider_for
from chips.simulator.client import SimulatorProcess
from core.clock import Agora
from core.database import execute
from core.integrations.http import new_client
from fila.models import Mensagem, MensagemEvento
from tests import factories
from tests.chips.simulated import Receiver, receiving
from tests.fila.webhooks import process


@dataclass
class Bench:
    """The simulator, and Julia's side of its webhooks: what it posted is handed on when a test says so."""

    simulator: SimulatorProcess
    receiver: Receiver
    handed: int = 0
    client: Client = field(default_factory=Client)

    def chip(self, **fields: Any) -> Chip:
        """An Evolution chip, open."""
        chip = factories.chip()
        self.simulator.register(
            chip.instance_name, phone=chip.telefone, webhook_url=self.receiver.url,
            webhook_headers={"X-Instance-Secret": chip.webhook_secret}, **fields,
        )  # fmt: skip
        return chip

    def zapi(self, **fields: Any) -> Chip:
        """A Z-API chip, connected. Its callbacks carry no header: the secret is added on the way."""
        chip = factories.chip(provider="z-api")
        chip.zapi_instance_id, chip.zapi_token = chip.instance_name, "token-inventado"
        chip.save(update_fields=["zapi_instance_id", "zapi_token"])
        self.simulator.register(
            chip.instance_name, phone=chip.telefone, provider="z-api", token="token-inventado",
            webhook_url=self.receiver.url, **fields,
        )  # fmt: skip
        return chip

    def hand_on(self, *, until: str | None = None) -> list[dict[str, Any]]:
        """Give Julia what was posted since the last time, and let her look at it once.

        When nothing more is under way, or (`until`) as soon as an event of that name was posted; "" does not wait.
        """
        if until is None:
            self.simulator.wait_quiet()
        elif until:
            self.simulator.wait_until(lambda: any(_name(body) == until for body in self.receiver.bodies[self.handed :]))
        posts = self.receiver.bodies[self.handed :]
        self.handed += len(posts)
        for body in posts:
            self.deliver(body)
        process()
        return posts

    def deliver(self, body: dict[str, Any]) -> None:
        path = "/webhooks/evolution" if "event" in body else "/webhooks/zapi"
        chip = Chip.objects.get(instance_name=body.get("instance") or body["instanceId"])
        response = self.client.post(
            path, data=body, content_type="application/json", headers={"X-Instance-Secret": chip.webhook_secret}
        )
        assert response.status_code == 200, response.content


def put_on_the_wire(chip: Chip, message: Mensagem, *, text: str = "") -> SendResult:
    """Send it as the worker would, without writing anything down: what a crash after the request leaves behind."""
    message.refresh_from_db()
    address = addresses.load([chip.pk])[chip.pk]

    async def main() -> SendResult:
        async with new_client() as client:
            provider = provider_for(chip.provider, client)
            return await provider.send_text(
                address, number=message.telefone_destino, text=text or message.conteudo, correlation_id="teste"
            )

    return asyncio.run(main())


def _name(body: dict[str, Any]) -> str:
    return str(body.get("event") or body.get("type"))


@contextmanager
def bench(simulator: SimulatorProcess) -> Iterator[Bench]:
    with receiving() as receiver:
        yield Bench(simulator, receiver)


@contextmanager
def holding(sql: str) -> Iterator[None]:
    """Somebody's open transaction, on a connection of its own, that has run `sql`."""
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(sql)
        yield
        other.rollback()
    finally:
        other.close()


def age(message: Mensagem, **span: float) -> Tentativa:
    """Let time pass for the newest attempt of a message, and for what was planned about it."""
    passed = timedelta(**span)
    execute(
        """UPDATE envios_tentativas SET iniciado_em = iniciado_em - %(s)s, encerrado_em = encerrado_em - %(s)s,
               delivery_status_at = delivery_status_at - %(s)s, proxima_busca_em = proxima_busca_em - %(s)s
           WHERE id = (SELECT max(id) FROM envios_tentativas WHERE origem_id = %(id)s)""",
        {"s": passed, "id": message.pk},
    )
    return attempt_of(message)


def attempt_of(message: Mensagem) -> Tentativa:
    """The newest one."""
    return Tentativa.objects.filter(origem_id=message.pk).latest("id")


def status_of(message: Mensagem) -> str:
    message.refresh_from_db()
    return message.status


def told(message: Mensagem) -> list[str]:
    """The reasons of the message's lines, oldest first."""
    return list(MensagemEvento.objects.filter(mensagem=message).order_by("id").values_list("motivo", flat=True))


def make_due(message: Mensagem) -> None:
    Mensagem.objects.filter(pk=message.pk, status="pendente").update(agendar_para=Agora())


def waiting() -> list[str]:
    """Why events wait."""
    return list(EventoRecebido.objects.filter(status="aguardando").order_by("id").values_list("motivo", flat=True))
