"""One way to reach each result of the closed set: what a provider answers, what the network does, what we refuse."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from chips.providers import evolution_contract, wire, zapi_contract
from chips.providers.base import ChipAddress, ErrorKind, SendResult
from chips.providers.evolution import EvolutionProvider
from chips.providers.zapi import ZapiProvider
from core.integrations.http import new_client
from fila.worker import wire as sender
from tests.wire_server import Behaviour, answers, closes, http_answer, stays_silent, wire_server

NUMBER = "5511900001111"
EVOLUTION = ChipAddress(
    UUID(int=1), "evolution", "http://127.0.0.1:9", instance_name="chip-01", api_key="CHAVE-INVENTADA"
)
ZAPI = ChipAddress(UUID(int=2), "z-api", "http://127.0.0.1:9", zapi_instance_id="z-01", zapi_token="TOKEN-INVENTADO")

CONNECTED = http_answer(200, b'{"connected":true}')


def evolution(status: int, message: Any) -> SendResult:
    """What the answer with this `response.message` proves."""
    body = json.dumps({"status": status, "error": "x", "response": {"message": message}}).encode()
    return evolution_contract.classify(status, body, number=NUMBER)


def zapi(status: int, error: str) -> SendResult:
    return zapi_contract.classify(status, json.dumps({"error": error}).encode())


def sending(chip: ChipAddress, *behaviours: Behaviour, refused: bool = False, **changed: Any) -> SendResult:
    """A real send over a real socket that behaves like this; `refused`: nobody listens."""

    async def run() -> SendResult:
        async with wire_server(*behaviours) as server, new_client(read_s=0.2, connect_s=0.2) as client:
            address = chip if refused else replace(chip, base_url=server.url)
            values = {"number": NUMBER, "text": "Oi", "correlation_id": "c1", **changed}
            if chip is ZAPI:
                provider: Any = ZapiProvider(client, total_s=1.0, status_read_s=0.2, status_total_s=0.4)
            else:
                provider = EvolutionProvider(client, total_s=1.0)
            result: SendResult = await provider.send_text(address, **values)
            return result

    return asyncio.run(run())


def _connecting_forever() -> SendResult:
    from chips.providers.classification import failed_call

    error = asyncio.run(_connect_timeout())
    return failed_call(error)


async def _connect_timeout() -> BaseException:
    """A pool without a free connection: time runs out before anything is opened."""
    async with (
        wire_server(stays_silent) as server,
        new_client(read_s=1.0, pool_s=0.1, connect_s=0.1, max_connections=1) as client,
    ):
        first = asyncio.create_task(client.get(server.url))
        await server.received.wait()
        try:
            await client.get(server.url)
        except BaseException as error:  # noqa: BLE001 - whatever the libraries raise is what is judged
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            return error
    raise AssertionError("the pool had a second connection")


def _zapi_status(status: int, body: bytes) -> SendResult:
    return sending(ZAPI, answers(http_answer(status, body)))


def _unlisted(classify: Callable[[int, str], SendResult], name: str) -> dict[str, Callable[[], SendResult]]:
    """The answers that no table lists, by a word of theirs or by their status alone."""
    words = {
        "restricao_banido": "Number banned",
        "restricao_bloqueado": "Sender blocked",
        "restricao_restrito": "account restricted",
        "restricao_spam": "Spam detected",
        "restricao_limite": "Too many messages",
    }
    statuses = {
        "http_400": 400,
        "http_403": 403,
        "http_429": 429,
        "http_4xx": 418,
        "http_503": 503,
        "http_5xx": 502,
        "http_estranho": 302,
    }
    by_word = {f"{name}.{rule}": partial(classify, 400, word) for rule, word in words.items()}
    by_status = {f"{name}.{rule}": partial(classify, status, "algo") for rule, status in statuses.items()}
    return {**by_word, **by_status}


WAYS: Mapping[str, Callable[[], SendResult]] = {
    "evolution.exists_false": lambda: evolution(400, [{"exists": False, "jid": "x", "number": NUMBER}]),
    "evolution.esquema": lambda: evolution(400, [['instance requires property "text"']]),
    "evolution.json_invalido": lambda: evolution_contract.classify(
        400, b'{"error":"Internal Server Error","response":{"message":"Unexpected token"}}'
    ),
    "evolution.nao_autorizado": lambda: evolution(401, "Unauthorized"),
    "evolution.instancia_inexistente": lambda: evolution(404, ['The "chip-01" instance does not exist']),
    "evolution.rota_inexistente": lambda: evolution(404, ["Cannot POST /message/sendText/chip-01"]),
    "evolution.checagem_nao_carregada": lambda: evolution(
        500, "Cannot read properties of undefined (reading 'onWhatsApp')"
    ),
    "evolution.checagem_fechada": lambda: evolution(500, "Connection Closed"),
    "evolution.checagem_tempo": lambda: evolution(500, "Timed Out"),
    "evolution.checagem_limite": lambda: evolution(500, "rate-overlimit"),
    "evolution.checagem_proibido": lambda: evolution(500, "forbidden"),
    "evolution.checagem_banco": lambda: evolution(500, "Invalid `isOnWhatsapp.findMany()` invocation"),
    "evolution.sem_chave": lambda: evolution_contract.classify(201, b"{}"),
    "evolution.envio_fechado": lambda: evolution(400, ["Error: Connection Closed"]),
    "evolution.envio_sem_sessao": lambda: evolution(400, ["SessionError: No sessions"]),
    "evolution.envio_tempo": lambda: evolution(400, ["Error: Timed Out"]),
    "evolution.envio_limite": lambda: evolution(400, ["Error: rate-overlimit"]),
    "evolution.envio_proibido": lambda: evolution(400, ["Error: forbidden"]),
    "evolution.envio_banco": lambda: evolution(400, ["PrismaClientKnownRequestError: message.create()"]),
    "evolution.ack_erro": evolution_contract.error_acknowledged,
    **_unlisted(evolution, "evolution"),
    "zapi.not_allowed": lambda: zapi(403, "null not allowed"),
    "zapi.telefone_invalido": lambda: zapi(400, "Invalid phone"),
    "zapi.pedido_recusado": lambda: zapi(415, "Unsupported Media Type"),
    "zapi.desconectado": lambda: _zapi_status(200, b'{"connected":false,"error":"You are not connected."}'),
    "zapi.status_instancia": lambda: _zapi_status(404, b'{"error":"Instance not found"}'),
    "zapi.status_credencial": lambda: _zapi_status(403, b'{"error":"null not allowed"}'),
    "zapi.status_limite": lambda: _zapi_status(429, b"{}"),
    "zapi.status_tempo": lambda: sending(ZAPI, stays_silent),
    "zapi.status_rede": lambda: sending(ZAPI, closes),
    "zapi.status_erro": lambda: _zapi_status(500, b"{}"),
    "zapi.status_ilegivel": lambda: _zapi_status(200, b"{}"),
    "zapi.sem_identificador": lambda: zapi_contract.classify(200, b"{}"),
    "zapi.http_404": lambda: zapi(404, "Instance not found"),
    "zapi.entrega_restrita": lambda: zapi_contract.delivery_failed("Whatsapp rejected sending this message"),
    "zapi.entrega_numero_inexistente": lambda: zapi_contract.delivery_failed("Phone number does not exist"),
    "zapi.entrega_tempo": lambda: zapi_contract.delivery_failed("Timeout on send message"),
    "zapi.entrega_erro": lambda: zapi_contract.delivery_failed("Error on send message"),
    **_unlisted(zapi, "zapi"),
    "rede.recusada": lambda: sending(EVOLUTION, refused=True),
    "rede.tempo_ao_conectar": _connecting_forever,
    "rede.perdida": lambda: sending(EVOLUTION, closes),
    "rede.tempo": lambda: sending(EVOLUTION, stays_silent),
    "rede.ilegivel": lambda: sending(EVOLUTION, answers(b"isto nao e HTTP\r\n\r\n")),
    "nos.retirada": lambda: sending(EVOLUTION, closes, go_ahead=lambda: False),
    "nos.pedido_invalido": lambda: sending(EVOLUTION, closes, text=" "),
    "nos.endereco_invalido": lambda: wire.refused_here(
        wire.InvalidRequestError(ErrorKind.CREDENCIAL, "endereço do provedor inválido")
    ),
    "nos.sem_credenciais": lambda: sending(replace(EVOLUTION, api_key=""), closes),
    "nos.cortada": sender.cut_off,
    "nos.erro_interno": sender.unwritable,
    "nos.chip_removido": sender._no_address,
}
"""Every rule that the code of a provider or of the wire reaches, by its name."""

WRITTEN_BY_SQL = frozenset({"nos.commit_em_duvida", "nos.lease_expirado", "nos.sem_dono"})
"""Rules of attempts that the fila closes by SQL because nobody holds their call any more."""
