"""One watch as a supervisor keeps it, with little patience: `python -m tests.julia.watcher OWNER`, until SIGTERM.

Its only rule finds the rows of `ensaio_fatos`. The lease lasts 2 s, a look comes every 0.3 s.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import django


def main(owner: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "julia.settings")
    django.setup()
    from core.alerts import outage, rules, watch
    from core.alerts.models import Severidade
    from core.alerts.watch import Watch
    from core.database import rows

    outage.SILENT_FOR_S, outage.TOLD_AFTER_S, outage.WITNESS_AFTER_S = 1.0, 2.0, 8.0
    watch.AGAIN_AFTER_S, watch.PING_EVERY_S, watch.SENTINEL_EVERY_S, watch.TELL_AGAIN_S = 0.3, 0.5, 0.1, 0.5
    watch.BLIND_AFTER_S = 2.0
    rules._rules = {tipo: rule for tipo, rule in rules._rules.items() if rule.evaluate is None}

    @rules.alert_rule("ensaio", significa="Ensaio.", proximo="Nada.", link="/admin/", solta=timedelta(0))
    def ensaio(now: datetime) -> Iterator[rules.Finding]:
        for row in rows("SELECT chave FROM ensaio_fatos"):
            yield rules.Finding(chave=row["chave"], severidade=Severidade.ERROR, titulo="Ensaio", mensagem=owner)

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    keeps = Watch(owner, every_s=0.3, lease_for=timedelta(seconds=2), first_after_s=0.0)
    keeps.start()
    ended.wait()
    began = time.monotonic()
    keeps.close()
    print(f"encerrado em {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
