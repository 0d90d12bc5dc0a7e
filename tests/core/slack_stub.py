"""A channel on loopback that answers as told and keeps what it was posted."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANGS, RESETS = "hangs", "resets"


@dataclass
class SlackStub:
    """`answers`: the n-th request gets the n-th, the last one from then on: a status, (status, headers) or a fault."""

    answers: list[Any] = field(default_factory=lambda: [200])
    posted: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def texts(self) -> list[str]:
        return [body["text"] for body in self.posted]


@contextmanager
def slack_stub(*answers: Any) -> Iterator[SlackStub]:
    stub = SlackStub(list(answers) or [200])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            stub.posted.append(json.loads(body))
            self._answer(len(stub.posted))

        def do_GET(self) -> None:
            stub.asked.append(self.path)
            self._answer(len(stub.asked))

        def _answer(self, number: int) -> None:
            answer = stub.answers[min(number, len(stub.answers)) - 1]
            if answer == HANGS:
                stub.released.wait(30)
                return
            if answer == RESETS:
                self.connection.close()
                return
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "2"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/services/T000/B000/segredodocanal"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.released.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
