"""`python -m julia.exercicio.filho COMMAND …`: becomes the command, and dies with whoever started it (on Linux).

A drill that is killed must not leave workers behind that go on sending.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    starter = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != starter:  # it died before we could ask
            sys.exit(1)
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 (no shell is what we want)


if __name__ == "__main__":
    main()
