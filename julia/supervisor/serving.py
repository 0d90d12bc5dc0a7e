"""From an order (`servir --papel … [--demo]`) to running processes: what is checked, prepared and started, in order."""

import contextlib
import logging
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

from core import clock
from core.clientes.models import Importacao
from core.database import execute
from julia import embedded
from julia.demo import campaign
from julia.demo import data as demo
from julia.demo.director import Director, Stage
from julia.demo.guard import refuse_outside_embedded
from julia.demo.people import LOGINS, PASSWORD
from julia.supervisor.child import PROJECT, Program
from julia.supervisor.guardian import Guardian
from julia.supervisor.preflight import CannotStart, check_port, only_one
from julia.supervisor.relay import Relay
from julia.supervisor.roles import Papel, programs
from julia.supervisor.schedules import Synchronisation
from julia.supervisor.supervisor import Supervisor

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
STATE = PROJECT / ".julia"
_MIGRATING = 0x4A756C69_61446221


@dataclass(frozen=True, slots=True)
class Order:
    papel: Papel
    host: str
    port: int
    demo: bool = False

    @property
    def reachable_host(self) -> str:
        """Where a process of this machine finds the api."""
        return WILDCARDS.get(self.host, self.host)

    @property
    def url(self) -> str:
        host = self.reachable_host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def command(self) -> str:
        return "make run" if self.demo else f"python manage.py servir --papel {self.papel}"


def serve(order: Order) -> None:
    """Until a signal ends it. Raises CannotStart or DemoRefused before anything is started."""
    if order.demo:
        refuse_outside_embedded()
        if order.papel is not Papel.TUDO:
            raise CannotStart("A demonstração tem todos os papéis: use --papel tudo --demo.")
    locks = []
    if order.papel is Papel.TUDO:
        locks.append(only_one(STATE, os.environ.get("DATABASE_URL", ""), order.url, say=tell))
    if order.papel.includes(Papel.API):
        check_port(order.host, order.port, command=order.command)
        with contextlib.suppress(OSError):
            settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns where it is missing
    is_private = os.environ.get("DATABASE_URL") == embedded.cluster().url
    if is_private:
        bring_up_to_date()
    greeting = welcome(order, demo.load(clock.now())) if order.demo else ""
    connection.close()
    with ExitStack() as stack:
        relay = Relay(as_json=settings.LOG_FORMAT == "json")
        stack.callback(relay.close)
        log_through(relay)
        if not is_private:
            warn = partial(relay.say, name="servir")
            threading.Thread(target=warn_if_behind, args=(warn,), name="migracoes", daemon=True).start()
        guardian = Guardian(with_database=is_private, keep_open=locks)
        _run(order, relay, guardian, greeting)


def _run(order: Order, relay: Relay, guardian: Guardian, greeting: str) -> None:
    schedules = Synchronisation(lambda line: relay.say(line, name="agenda"), url=order.url)
    stops: list[Callable[[], None]] = [schedules.stop]
    found: list[Program] = []
    if order.demo:
        program, director = _demonstration(order, relay)
        found.append(program)
        found += programs(
            order.papel,
            host=order.host,
            port=order.port,
            reachable_host=order.reachable_host,
            schedules_ready=schedules.is_done,
            may_send=director.is_set,
            quiet_api=True,
        )
        relay.say(greeting)
        director.start()
        stops.append(director.stop)
    else:
        found += programs(
            order.papel,
            host=order.host,
            port=order.port,
            reachable_host=order.reachable_host,
            schedules_ready=schedules.is_done,
        )
    if order.papel.includes(Papel.SCHEDULER):
        schedules.start()

    def stop() -> None:
        relay.say("Encerrando: o que está saindo termina, o resto espera na fila ...", name="servir")
        for each in stops:
            each()

    Supervisor(found, relay, guardian, on_stop=stop).run()


def _demonstration(order: Order, relay: Relay) -> tuple[Program, Director]:
    """The simulator, known to our children by a nonce made now, and who directs it."""
    control, evolution, zapi = free_ports(3)
    nonce = secrets.token_urlsafe(24)
    os.environ |= {
        "JULIA_DEMO": "true",
        "SIMULADOR_NONCE": nonce,
        "EVOLUTION_API_URL": f"http://127.0.0.1:{evolution}",
        "EVOLUTION_API_KEY": secrets.token_urlsafe(24),
        "ZAPI_BASE_URL": f"http://127.0.0.1:{zapi}",
    }
    words = ["--port", str(control), "--porta-evolution", str(evolution), "--porta-zapi", str(zapi)]
    words += ["--semente", str(secrets.randbelow(1_000_000))]
    if order.reachable_host not in LOOPBACK:
        words += ["--host-webhook", order.reachable_host]
    program = Program("simulador", "simulador", (sys.executable, "-m", "chips.simulator", *words), ends_last=True)
    stage = Stage(f"http://127.0.0.1:{control}", nonce, order.url)
    return program, Director(stage, say=lambda text: relay.say(text, name="demo"))


def bring_up_to_date() -> None:
    """For the private database only: migrating any other is a deployment's act. One process at a time."""
    tell("Preparando o banco de dados ...")
    execute("SELECT pg_advisory_lock(%s)", [_MIGRATING])
    try:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("createcachetable", verbosity=0)
    finally:
        execute("SELECT pg_advisory_unlock(%s)", [_MIGRATING])


def warn_if_behind(say: Callable[[str], None]) -> None:
    """In a thread of its own: a database that hangs does not keep the roles from starting."""
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except (DatabaseError, InterfaceError) as error:
        reason = str(error).strip().partition("\n")[0]
        say(f"O banco de dados não responde ({reason}). Os papéis tentam de novo até ele voltar.")
    else:
        if pending:
            say(
                f"Este banco está atrás do código (migrações por aplicar: {len(pending)}). Rode python manage.py "
                "migrate e python manage.py createcachetable; até lá os papéis podem falhar, e são iniciados de novo."
            )
    finally:
        connection.close()


def log_through(relay: Relay) -> None:
    """Our own log lines go the way of all others, so that no line cuts another."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(relay.stream("servir"))


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def tell(text: str) -> None:
    """Before there is a relay."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def welcome(order: Order, doctors: Importacao) -> str:
    others = ", ".join(name for name in LOGINS if name != "demo")
    return f"""
  Julia: {order.url}/     (abre em alguns segundos)

  Usuário: demo     Senha: {PASSWORD}
  Com menos direitos e a mesma senha: {others}

  Há {doctors.novos} médicos inventados, importados de um arquivo em que {doctors.rejeitados} linhas foram recusadas.
  Uma campanha para {campaign.RECIPIENTS} deles começa agora e termina em uns dois minutos. As mensagens vão para um
  simulador, nada sai desta máquina; alguns médicos respondem e dois pedem para sair.
  Ctrl-C encerra tudo, inclusive o banco de dados; make run continua de onde parou.
"""
