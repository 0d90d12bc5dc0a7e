"""`python -m chips.simulator`: prints one JSON line with its addresses once it listens, then serves until ended."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence

from chips.simulator.app import Simulator
from chips.simulator.options import Options, add_arguments, from_arguments

REFUSED = 2


def production() -> bool:
    return os.environ.get("APP_ENV", "").strip().lower() == "production"


async def serve(options: Options) -> None:
    simulator = Simulator(options)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    if options.stop_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _watch_stdin, ended)
    await simulator.start()
    sys.stdout.write(json.dumps(simulator.addresses()) + "\n")
    sys.stdout.flush()
    await ended.wait()
    if options.stop_with_stdin:
        loop.remove_reader(sys.stdin.fileno())
    await simulator.stop()


def _watch_stdin(ended: asyncio.Event) -> None:
    """The starter holds the other end: its end of file means that it is gone, however it went."""
    if not os.read(sys.stdin.fileno(), 1024):
        ended.set()


def run(options: Options) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code; 2 when the environment is production."""
    if production():
        sys.stderr.write("O simulador não roda com APP_ENV=production: ele responde no lugar do provedor real.\n")
        return REFUSED
    try:
        asyncio.run(serve(options))
    except OSError as error:
        sys.stderr.write(f"O simulador não conseguiu abrir a porta: {error}. Escolha outra com --port.\n")
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m chips.simulator", description="Simulador de Evolution e Z-API.")
    add_arguments(parser)
    return run(from_arguments(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
