"""A supervisor as `servir` runs it, with little patience: `python -m tests.julia.supervised PAPEL SEGUNDOS`.

A program of its own, because a supervisor takes over the signals of its process. `PORT` is the api's. The role `boneco`
is one small process that moves until it is told not to: SIGUSR1, its threads wait for each other; SIGUSR2, it computes
for ever and hears no SIGTERM. The role `invalido` never starts.
"""

import os
import signal
import sys
import threading
import time

import django

PUPPET, INVALID = "boneco", "invalido"


def main(papel: str, stuck_after_s: float) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "julia.settings")
    django.setup()
    from core.health.progress import LOOK
    from julia.supervisor.child import Program
    from julia.supervisor.guardian import Guardian
    from julia.supervisor.policy import Policy
    from julia.supervisor.relay import Relay
    from julia.supervisor.roles import Papel, programs
    from julia.supervisor.serving import log_through
    from julia.supervisor.supervisor import Supervisor

    policy = Policy(stuck_after_s=stuck_after_s, settled_after_s=stuck_after_s, boot_within_s=60.0, stop_within_s=2.0)
    relay = Relay()
    log_through(relay)
    if papel in (PUPPET, INVALID):
        argv = (sys.executable, "-m", "tests.julia.supervised", f"processo-{papel}")
        found = [Program(papel, "worker", argv, policy=policy, points=(LOOK,))]
    else:
        port = int(os.environ.get("PORT", "8000"))
        found = programs(Papel(papel), host="127.0.0.1", port=port, policy=policy)
    Supervisor(found, relay, Guardian(with_database=False), policy=policy).run()
    relay.close()


def puppet() -> None:
    from core.health import progress

    lock = threading.Lock()

    def deadlock(*_: object) -> None:
        lock.acquire()
        lock.acquire()

    def compute(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass

    signal.signal(signal.SIGUSR1, deadlock)
    signal.signal(signal.SIGUSR2, compute)
    while True:
        progress.beat(progress.LOOK)
        time.sleep(0.05)


if __name__ == "__main__":
    match sys.argv[1]:
        case "processo-boneco":
            puppet()
        case "processo-invalido":
            sys.exit("falta a variável que eu preciso")
        case _:
            main(sys.argv[1], float(sys.argv[2]))
