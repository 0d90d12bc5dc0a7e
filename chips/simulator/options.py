"""How one simulator process behaves: its command line, and the paces that may change while it runs."""

import argparse
import os
import random
import secrets
from dataclasses import dataclass, field
from typing import Any

#: Where the control API lives, and the header that opens it.
PREFIX = "/__simulador__"
NONCE_HEADER = "X-Simulador-Nonce"

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Span:
    """A closed range to draw from; the unit is the owner's."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"intervalo inválido: {self.low}-{self.high}")

    def draw(self, rng: random.Random) -> float:
        return self.low if self.low == self.high else rng.uniform(self.low, self.high)


def parse_span(text: str) -> Span:
    """`80-250`, `1.5-3`, or one number for a fixed value."""
    low, _, high = text.partition("-")
    try:
        return Span(float(low), float(high or low))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"use MÍNIMO-MÁXIMO, por exemplo 80-250 (recebido: {text})") from error


@dataclass(slots=True)
class Pacing:
    """Times that tests and drills shrink.

    `latency_ms` is the provider's own time per call. `pace` multiplies the delays of acknowledgements and
    connection steps (0 = at once). `queue_gap_s` is Z-API's gap between two messages of its queue. Webhook retries
    start at `retry_initial_s`, double up to `retry_max_s`, and give up after `retry_attempts` posts; the real
    server has 5 s and 300 s.
    """

    latency_ms: Span = Span(80, 250)
    pace: float = 1.0
    queue_gap_s: Span = Span(1, 3)
    retry_initial_s: float = 0.5
    retry_max_s: float = 30.0
    retry_attempts: int = 10
    webhook_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """`nonce` proves to Julia that this is her simulator; without it every control call is refused.

    `fast` means no latency, no stored rows and no webhooks: only answers and the wire truth, for benchmarks.
    `webhook_hosts` are the hosts besides loopback that webhooks may be posted to.
    """

    nonce: str
    host: str = "127.0.0.1"
    port: int = 0
    evolution_port: int = 0
    zapi_port: int = 0
    apikey: str = "chave-do-simulador"
    seed: int = 1
    fast: bool = False
    webhook_hosts: frozenset[str] = frozenset()
    utc_offset_h: float = 0.0
    stop_with_stdin: bool = False
    nonce_was_generated: bool = False
    pacing: Pacing = field(default_factory=Pacing)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="endereço de escuta")
    parser.add_argument("--port", type=int, default=0, help="porta do controle (0 escolhe uma livre)")
    parser.add_argument("--porta-evolution", type=int, default=0, help="porta só da Evolution (0 escolhe uma livre)")
    parser.add_argument("--porta-zapi", type=int, default=0, help="porta só da Z-API (0 escolhe uma livre)")
    parser.add_argument("--nonce", default=None, help="segredo do controle; padrão: variável SIMULADOR_NONCE")
    parser.add_argument("--apikey", default=None, help="chave global da Evolution; padrão: variável EVOLUTION_API_KEY")
    parser.add_argument("--semente", type=int, default=1, help="semente de todo acaso")
    parser.add_argument("--latencia-ms", type=parse_span, default=Span(80, 250), help="MÍN-MÁX por chamada")
    parser.add_argument("--ritmo", type=float, default=1.0, help="multiplica os atrasos dos avisos (0 = na hora)")
    parser.add_argument("--fila-zapi-s", type=parse_span, default=Span(1, 3), help="MÍN-MÁX entre mensagens da Z-API")
    parser.add_argument("--rapido", action="store_true", help="sem latência, sem linhas e sem webhooks")
    parser.add_argument("--host-webhook", action="append", default=[], help="host permitido para webhooks (repetível)")
    parser.add_argument("--fuso-servidor-h", type=float, default=0.0, help="fuso do date_time dos webhooks, em horas")
    parser.add_argument("--encerrar-com-stdin", action="store_true", help="encerra quando a entrada padrão fecha")


def from_options(values: dict[str, Any]) -> Options:
    """From Django's option dictionary, which carries more than ours."""
    return from_arguments(argparse.Namespace(**values))


def from_arguments(values: argparse.Namespace) -> Options:
    nonce = values.nonce or os.environ.get("SIMULADOR_NONCE") or ""
    return Options(
        nonce=nonce or secrets.token_urlsafe(24),
        nonce_was_generated=not nonce,
        host=values.host,
        port=values.port,
        evolution_port=values.porta_evolution,
        zapi_port=values.porta_zapi,
        apikey=values.apikey or os.environ.get("EVOLUTION_API_KEY") or "chave-do-simulador",
        seed=values.semente,
        fast=values.rapido,
        webhook_hosts=frozenset(values.host_webhook),
        utc_offset_h=values.fuso_servidor_h,
        stop_with_stdin=values.encerrar_com_stdin,
        pacing=Pacing(
            latency_ms=Span(0, 0) if values.rapido else values.latencia_ms,
            pace=values.ritmo,
            queue_gap_s=Span(0, 0) if values.rapido else values.fila_zapi_s,
        ),
    )
