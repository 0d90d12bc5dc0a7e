"""What the simulator's tests share: one send, and a receiver of its webhooks."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

DOCTOR = "5511900001111"


def send(client: httpx.Client, text: str = "Oi", number: str = DOCTOR, chip: str = "chip-01") -> httpx.Response:
    return client.post(f"/message/sendText/{chip}", json={"number": number, "text": text})


def message_of(response: httpx.Response) -> Any:
    return response.json()["response"]["message"]


class Server(ThreadingHTTPServer):
    request_queue_size = 128


class Receiver:
    """Julia's side of the webhooks: keeps every post, answers what `answers` says next (then 200)."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.posts.append((dict(self.headers), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
                return

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/segredo"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, body in self.posts]

    def events(self, key: str = "event") -> list[str]:
        return [body[key] for body in self.bodies]

    def named(self, event: str) -> list[Any]:
        return [body["data"] for body in self.bodies if body.get("event") == event]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [body for body in self.bodies if body.get("type") == kind]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
