"""The simulator from outside: spawn the real process, register chips, commit faults, read the wire truth.

Synchronous, for tests, drills and the demo. Times are seconds.
"""

import hashlib
import hmac
import json
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from chips.simulator.options import NONCE_HEADER, PREFIX
from chips.simulator.truth import Call, ChipTotals, Duplicate, WireRecord

START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 5.0
POLL_S = 0.02
ROOT = Path(__file__).resolve().parents[2]


class SimulatorError(Exception):
    """The simulator did not start, or refused a control call; the text is its own."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The wire truth at one moment. `records` is empty in a summary."""

    total: int
    delivered: int
    records: list[WireRecord]
    duplicates: list[Duplicate]
    open_calls: list[Call]
    max_open: int
    totals: dict[str, ChipTotals]

    def to(self, recipient: str) -> list[WireRecord]:
        return [record for record in self.records if record.recipient == recipient]

    def by_chip(self, chip: str) -> list[WireRecord]:
        return [record for record in self.records if record.chip == chip]

    def with_key(self, key_id: str) -> WireRecord | None:
        return next((record for record in self.records if record.key_id == key_id), None)


class SimulatorClient:
    """Control of a simulator that already runs. `evolution_url` and `zapi_url` are what Julia is configured with."""

    def __init__(self, base_url: str, nonce: str, *, evolution_url: str = "", zapi_url: str = "") -> None:
        self.base_url = base_url
        self.nonce = nonce
        self.evolution_url = evolution_url or base_url
        self.zapi_url = zapi_url or base_url
        self._http = httpx.Client(
            base_url=base_url + PREFIX, headers={NONCE_HEADER: nonce}, trust_env=False, timeout=30.0
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def proves(self, url: str | None = None) -> bool:
        """Whether the server at `url` (default: this one) knows the nonce: a fresh challenge, answered right."""
        challenge = secrets.token_hex(16)
        answer = httpx.get(f"{url or self.base_url}{PREFIX}/prova", params={"desafio": challenge}, trust_env=False)
        expected = hmac.new(self.nonce.encode(), challenge.encode(), hashlib.sha256).hexdigest()
        return answer.status_code == 200 and hmac.compare_digest(answer.json().get("hmac", ""), expected)

    # -- chips ----------------------------------------------------------------------------------------------------

    def register(
        self,
        name: str,
        *,
        phone: str,
        provider: str = "evolution",
        token: str | None = None,
        webhook_url: str | None = None,
        webhook_headers: Mapping[str, str] | None = None,
        webhook_events: Sequence[str] = (),
        **fields: Any,
    ) -> dict[str, Any]:
        """Register or change an instance. `fields`: state, client_token, groups, never_connected, leaks_apikey,
        acks_by_lid, phone_exists_as_list, notify_sent_by_me."""
        values: dict[str, Any] = {"name": name, "phone": phone, "provider": provider, "token": token, **fields}
        if webhook_url is not None:
            headers = dict(webhook_headers or {})
            values["webhook"] = {"url": webhook_url, "headers": headers, "events": list(webhook_events)}
        registered: dict[str, Any] = self._post("/chips", values)["chips"][0]
        return registered

    def chips(self) -> dict[str, dict[str, Any]]:
        return {chip["name"]: chip for chip in self._get("/chips")["chips"]}

    def set_state(
        self, name: str, state: str, *, code: int | None = None, burst: int = 1, silent: bool = False
    ) -> None:
        """`open`, `close`, `connecting` or `ausente`; `code` is Evolution's reason of a close (default 401)."""
        self._post(f"/chips/{name}/estado", {"state": state, "code": code, "burst": burst, "silent": silent})

    def messages(self, name: str) -> list[dict[str, Any]]:
        """The rows stored by an Evolution instance, with their status steps."""
        rows: list[dict[str, Any]] = self._get(f"/chips/{name}/mensagens")["messages"]
        return rows

    # -- faults ---------------------------------------------------------------------------------------------------

    def fault(
        self,
        kind: str,
        *,
        instance: str | None = None,
        provider: str | None = None,
        calls: str | None = None,
        count: int | None = None,
        after: int = 0,
        after_sent: int = 0,
        probability: float = 1.0,
        duration_s: float | None = None,
        **parameters: Any,
    ) -> int:
        """Order a fault and return its id. `calls` is `send` (default), `other` or `any`."""
        values = {
            "kind": kind,
            "instance": instance,
            "provider": provider,
            "count": count,
            "after": after,
            "after_sent": after_sent,
            "probability": probability,
            "duration_s": duration_s,
            **({"calls": calls} if calls else {}),
            **parameters,
        }
        fault_id: int = self._post("/falhas", values)["id"]
        return fault_id

    def faults(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get("/falhas")["faults"]
        return found

    def clear_faults(self, fault_id: int | None = None) -> None:
        """Lift one fault or all; calls held in a black hole break."""
        self._post("/falhas/limpar", {"id": fault_id})

    # -- people ---------------------------------------------------------------------------------------------------

    def inbound(self, instance: str, sender: str, text: str, *, lid: bool | str = False, **fields: Any) -> str:
        """A message arrives now (or when the chip is open again). Returns its id. `fields`: phone_beside, key_id,
        from_me, push_name, quoted, message_type, content, at."""
        values = {"instance": instance, "from": sender, "text": text, "lid": lid, **fields}
        key_id: str = self._post("/entrada", values)["key_id"]
        return key_id

    def replies(self, **policy: Any) -> None:
        """Replace the reply policy: probability, delay_s (low, high), texts, opt_out_texts, opt_out_recipients,
        opt_out_on (ordinals of delivered messages), by_recipient, instance, lid. Nothing given: silence."""
        self._post("/respostas", policy)

    def number(self, number: str, **belief: Any) -> None:
        """What the provider believes about a number: exists, jid, lid, name."""
        self._post("/numeros", {"number": number, **belief})

    # -- truth ----------------------------------------------------------------------------------------------------

    def truth(self, *, summary: bool = False, since: int = 0) -> Truth:
        values = self._get("/verdade", resumo="1" if summary else "0", desde=str(since))
        return Truth(
            total=values["total"],
            delivered=values["delivered"],
            records=[WireRecord(**record) for record in values.get("records", [])],
            duplicates=[Duplicate(**duplicate) for duplicate in values["duplicates"]],
            open_calls=[Call(**call) for call in values["open_calls"]],
            max_open=values["max_open"],
            totals={chip: ChipTotals(**totals) for chip, totals in values["totals"].items()},
        )

    def clear_truth(self) -> None:
        self._checked(self._http.delete("/verdade"))

    def calls(self, instance: str | None = None) -> list[Call]:
        """Every send request received, open ones included, oldest first (not kept in fast mode)."""
        query = {"instance": instance} if instance else {}
        return [Call(**call) for call in self._get("/chamadas", **query)["calls"]]

    def wait_for(self, reached: Callable[[Truth], bool], *, timeout_s: float = 10.0) -> Truth:
        """Poll the truth until it satisfies `reached`; TimeoutError tells what it was instead."""
        truth = self.truth()
        self.wait_until(lambda: reached(self.truth()), timeout_s=timeout_s, otherwise=lambda: repr(truth.totals))
        return self.truth()

    def wait_quiet(self, *, timeout_s: float = 10.0) -> None:
        """Wait until no acknowledgement, reply, queue or webhook is under way."""
        self.wait_until(lambda: self.webhooks()["pending"] == 0, timeout_s=timeout_s)

    def wait_until(
        self, reached: Callable[[], bool], *, timeout_s: float = 10.0, otherwise: Callable[[], str] = str
    ) -> None:
        deadline = time.monotonic() + timeout_s
        while not reached():
            if time.monotonic() >= deadline:
                raise TimeoutError(f"simulator did not get there in {timeout_s} s {otherwise()}")
            time.sleep(POLL_S)

    # -- webhooks and knobs ---------------------------------------------------------------------------------------

    def webhooks(self, *, posts: bool = False) -> dict[str, Any]:
        """Counters of webhook delivery; with `posts` the last 500 posts and their bodies under `history`."""
        return self._get("/webhooks", posts="1" if posts else "0")

    def emit(self, instance: str, *, event: str = "", data: Any = None, body: dict[str, Any] | None = None) -> None:
        """Post an event of one's own to the instance's webhook; `body` is sent as it is."""
        self._post("/webhooks", {"instance": instance, "event": event, "data": data, "body": body})

    def adjust(self, **pacing: Any) -> None:
        """Change paces while it runs: latency_ms (low, high), pace, queue_gap_s (low, high), retry_initial_s,
        retry_max_s, retry_attempts, webhook_timeout_s."""
        self._post("/ajustes", pacing)

    def seed(self, seed: int) -> None:
        self._post("/semente", {"semente": seed})

    def clock(self, offset_s: float) -> None:
        """Let the provider's clock run this far ahead of the machine's; delays stay in real seconds."""
        self._post("/relogio", {"deslocamento_s": offset_s})

    def reset(self) -> None:
        """Back to the state right after start."""
        self._post("/reinicio", {})

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        return self._checked(self._http.get(path, params=query))

    def _post(self, path: str, values: Any) -> dict[str, Any]:
        return self._checked(self._http.post(path, json=values))

    def _checked(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_error:
            raise SimulatorError(f"{response.status_code}: {response.text}")
        answer: dict[str, Any] = response.json()
        return answer


class SimulatorProcess(SimulatorClient):
    """The simulator as a child process; it ends with the `with` block, and with its parent however that dies.

    Without arguments it has neither latency nor pace (everything at once). `options` are further command-line words.
    """

    def __init__(
        self,
        *options: str,
        nonce: str | None = None,
        apikey: str = "chave-do-simulador",
        seed: int = 1,
        latency_ms: str = "0",
        pace: float = 0.0,
        queue_gap_s: str = "0",
        fast: bool = False,
        port: int = 0,
    ) -> None:
        self.apikey = apikey
        self._nonce = nonce or secrets.token_urlsafe(24)
        words = ["--port", str(port), "--semente", str(seed), "--latencia-ms", latency_ms, "--ritmo", str(pace)]
        words += ["--fila-zapi-s", queue_gap_s, "--encerrar-com-stdin", *(["--rapido"] if fast else []), *options]
        self._words = [sys.executable, "-m", "chips.simulator", *words]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise SimulatorError("the simulator is not running")
        return self._process.pid

    def start(self) -> None:
        """Spawn and wait for its line. SimulatorError when it says nothing or ends."""
        environment = {**os.environ, "SIMULADOR_NONCE": self._nonce, "EVOLUTION_API_KEY": self.apikey}
        self._process = subprocess.Popen(
            self._words, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            addresses = json.loads(self._first_line(self._process))
        except (SimulatorError, ValueError):
            self.stop()
            raise
        super().__init__(
            addresses["simulador"],
            self._nonce,
            evolution_url=addresses["evolution"],
            zapi_url=addresses["z-api"],
        )

    def stop(self) -> None:
        """End it and wait; whatever it still had to deliver is lost. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        if hasattr(self, "_http"):
            self.close()
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _first_line(self, process: "subprocess.Popen[str]") -> str:
        if process.stdout is None:
            raise SimulatorError("the simulator has no output")
        ready, _, _ = select.select([process.stdout], [], [], START_DEADLINE_S)
        line = process.stdout.readline() if ready else ""
        if not line:
            raise SimulatorError(f"the simulator did not start (exit code {process.poll()})")
        return line
