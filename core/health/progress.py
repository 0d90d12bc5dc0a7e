"""Signs of progress to the supervisor of this machine: one datagram each, never waited for, never an error.

Not through the database: who supervises must know what moves while the database is away. The supervisor names its
socket in the environment of its children; without one `beat` does nothing.
"""

import math
import os
import socket
import time

SOCKET = "JULIA_PROGRESS_SOCKET"  # from the supervisor to its children, no setting of anybody's
EVERY = "JULIA_PROGRESS_EVERY_S"

LOOK = "olhada"  # the worker took one look at the fila
CANARY = "canario"  # a task went all the way through the cluster
GUARD = "guarda"  # the cluster's sentinel went round its loop
HEALTH = "health"  # the api answered
BUSY = "ocupado"  # this process works on one task, and lives
WAITING = "espera"  # turns, but the database does not answer

EVERY_S = 10.0
LEAST_PART = 10  # a sign is repeated after a tenth of `every_s` at the earliest: a fast loop does not drown the others

_sent: dict[tuple[int, str], float] = {}


def beat(what: str) -> None:
    """Tell that `what` has just moved on. Costs next to nothing, blocks never, raises nothing."""
    address = os.environ.get(SOCKET)
    if not address:
        return
    now, key = time.monotonic(), (os.getpid(), what)
    if now - _sent.get(key, -math.inf) < every_s() / LEAST_PART:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.setblocking(False)
            speaker.sendto(f"{os.getsid(0)} {key[0]} {what}".encode(), address)
    except OSError:
        return  # nobody listens, or they have enough to read: the next sign is as good
    _sent[key] = now


def is_supervised() -> bool:
    return bool(os.environ.get(SOCKET))


def every_s() -> float:
    """How often the supervisor wants to see something move."""
    try:
        return float(os.environ.get(EVERY, "")) or EVERY_S
    except ValueError:
        return EVERY_S
