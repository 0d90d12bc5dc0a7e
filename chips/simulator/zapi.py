"""Z-API (contract §2): the token is in the path, 200 on a send means queued, errors are `{"error": …}`."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from chips.simulator import zapi_events
from chips.simulator.answers import TRANSPORT_KINDS, json_response, spoiled
from chips.simulator.connection import reconnect, set_state
from chips.simulator.evolution_send import latency
from chips.simulator.faults import Calls, Fault, Kind, Strike
from chips.simulator.numbers import digits_of
from chips.simulator.replies import Replies
from chips.simulator.state import Instance, Provider, Queued, State, World
from chips.simulator.truth import Call

QUEUE_LIMIT = 1000
QUEUE_PAGE = 30
UNKNOWN_DELIVERY = "Timeout on send message"
WEBHOOK_KINDS = ("received", "delivery", "disconnected", "connected", "message-status")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Ask:
    """A guarded call that sends nothing."""

    instance: Instance
    request: web.Request
    body: dict[str, Any]
    fault: Fault | None


Work = Callable[[Ask], Awaitable[web.StreamResponse]]


class ZapiError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def response(self) -> web.Response:
        return json_response({"error": self.message}, self.status)


class ZapiApi:
    def __init__(self, world: World, replies: Replies) -> None:
        self.world = world
        self.replies = replies

    def routes(self) -> list[web.RouteDef]:
        base = "/instances/{name}/token/{token}"
        plain = self._plain
        return [
            web.post(f"{base}/send-text", self.send_text),
            web.get(f"{base}/status", plain(self.status)),
            web.get(f"{base}/phone-exists/{{phone}}", plain(self.phone_exists)),
            web.post(f"{base}/phone-exists-batch", plain(self.phone_exists_batch)),
            web.post(f"{base}/read-message", plain(self.read_message)),
            web.get(f"{base}/restart", plain(self.restart)),
            web.get(f"{base}/disconnect", plain(self.disconnect)),
            web.post(f"{base}/queue", plain(self.list_queue)),
            web.get(f"{base}/queue", plain(self.list_queue)),
            web.delete(f"{base}/queue", plain(self.clear_queue)),
            web.delete(f"{base}/queue/{{zaap_id}}", plain(self.remove_queued)),
            web.put(f"{base}/update-every-webhooks", plain(self.update_webhooks)),
            *(web.put(f"{base}/update-webhook-{kind}", plain(self.update_webhooks)) for kind in WEBHOOK_KINDS),
        ]

    # -- sending --------------------------------------------------------------------------------------------------

    async def send_text(self, request: web.Request) -> web.StreamResponse:
        truth = self.world.truth
        call = truth.open_call(request.match_info["name"], Provider.ZAPI)
        call.correlation_id = request.headers.get("X-Correlation-ID", "")
        try:
            response = await self._answered(request, call)
            call.result = call.result or str(response.status)
            return response
        finally:
            truth.close_call(call)

    async def _answered(self, request: web.Request, call: Call) -> web.StreamResponse:
        strike = self.world.faults.on_call(Provider.ZAPI, request.match_info["name"], Calls.SEND)
        fault = strike.answer
        if fault is not None:
            call.fault = call.result = fault.kind
        raw = await request.read()
        before_s, after_s = latency(self.world, strike)
        if before_s:
            await asyncio.sleep(before_s)
        try:
            if fault is not None and fault.kind in TRANSPORT_KINDS and not fault.sends:
                return await spoiled(request, fault, accepted_status=200)
            response = await self._queue(request, raw, strike, call)
        except ZapiError as error:
            response = error.response()
            call.result = f"{fault.kind}:{error.status}" if fault else str(error.status)
        if after_s:
            await asyncio.sleep(after_s)
        return response

    async def _queue(self, request: web.Request, raw: bytes, strike: Strike, call: Call) -> web.StreamResponse:
        instance = self._guard(request)
        body = _parse(request, raw)
        phone, text = digits_of(str(body.get("phone") or "")), body.get("message")
        fault = strike.answer
        if not phone:
            raise ZapiError(400, "Invalid phone")
        if not isinstance(text, str) or not text:
            raise ZapiError(400, "Invalid message")
        call.recipient, call.text = self.world.reached(self.world.target_jid(phone)), text
        if fault is not None and not fault.sends:
            _refuse(fault)
        if len(instance.queue) >= QUEUE_LIMIT:
            raise ZapiError(400, "Queue limit reached")
        entry = self._entry(phone, text, body, strike, call)
        instance.queue.append(entry)
        zapi_events.ensure_draining(self.world, instance)
        if fault is not None and fault.kind in TRANSPORT_KINDS:
            return await spoiled(request, fault, accepted_status=200)
        if fault is not None:
            _refuse(fault)
        return json_response({"zaapId": entry.zaap_id, "messageId": entry.message_id, "id": entry.message_id})

    def _entry(self, phone: str, text: str, body: dict[str, Any], strike: Strike, call: Call) -> Queued:
        delay = body.get("delayMessage")
        error, leaves = delivery_error(strike.answer)
        return Queued(
            zaap_id=self.world.new_id("", 32),
            message_id=self.world.new_id("3EB0", 22),
            phone=phone,
            text=text,
            created_ms=zapi_events.milliseconds(),
            delay_s=float(delay) if isinstance(delay, int) else None,
            call_seq=call.seq,
            error=error,
            leaves=leaves,
            no_ack=strike.no_ack,
        )

    # -- connection and numbers -----------------------------------------------------------------------------------

    async def status(self, ask: Ask) -> web.Response:
        """`error` is filled even when all is well."""
        connected = ask.instance.state is State.OPEN and (ask.fault is None or ask.fault.kind is not Kind.DESCONECTADO)
        if connected:
            text = "You are already connected."
        else:
            text = "You need to restore the session." if ask.instance.session_lost else "You are not connected."
        return json_response({"connected": connected, "error": text, "smartphoneConnected": connected})

    async def phone_exists(self, ask: Ask) -> web.Response:
        phone = digits_of(ask.request.match_info["phone"])
        exists = self.world.exists(ask.instance, phone)
        lid = self.world.contact(phone).lid or None
        answer = {"exists": exists, "phone": _spelled(self.world, phone), "lid": lid if exists else None}
        return json_response([answer] if ask.instance.phone_exists_as_list else answer)

    async def phone_exists_batch(self, ask: Ask) -> web.Response:
        phones = [digits_of(str(phone)) for phone in ask.body.get("phones", [])]
        return json_response(
            [
                {
                    "exists": self.world.exists(ask.instance, phone),
                    "inputPhone": phone,
                    "outputPhone": _spelled(self.world, phone),
                    "lid": self.world.contact(phone).lid or None,
                }
                for phone in phones
            ]
        )

    async def read_message(self, ask: Ask) -> web.Response:
        return web.Response(status=204)

    async def restart(self, ask: Ask) -> web.Response:
        """Keeps the session: a connected instance comes back by itself and its queue fires."""
        if not ask.instance.session_lost:
            self.world.spawn(reconnect(self.world, self.replies, ask.instance))
        return json_response({"value": True})

    async def disconnect(self, ask: Ask) -> web.Response:
        """The session is lost until a new QR code; webhooks stop."""
        if ask.instance.state is State.OPEN:
            set_state(self.world, self.replies, ask.instance, State.CLOSE)
        ask.instance.session_lost = True
        return json_response({"value": True})

    # -- queue and webhooks ---------------------------------------------------------------------------------------

    async def list_queue(self, ask: Ask) -> web.Response:
        start = int(ask.body.get("pagingState") or 0)
        size = min(int(ask.body.get("pageSize") or QUEUE_PAGE), QUEUE_PAGE)
        entries = list(ask.instance.queue)
        more = len(entries) > start + size
        return json_response(
            {
                "messages": [_queued(entry) for entry in entries[start : start + size]],
                "pagingState": str(start + size) if more else None,
                "hasMore": more,
            }
        )

    async def clear_queue(self, ask: Ask) -> web.Response:
        ask.instance.queue.clear()
        return json_response({"value": True})

    async def remove_queued(self, ask: Ask) -> web.Response:
        zaap_id = ask.request.match_info["zaap_id"]
        for entry in [entry for entry in ask.instance.queue if entry.zaap_id == zaap_id]:
            ask.instance.queue.remove(entry)
        return json_response({"value": True})

    async def update_webhooks(self, ask: Ask) -> web.Response:
        url = str(ask.body.get("value", ""))
        kind = ask.request.path.rpartition("/")[2].removeprefix("update-webhook-")
        if kind == "update-every-webhooks":
            ask.instance.webhook.by_kind = dict.fromkeys(WEBHOOK_KINDS, url)
            ask.instance.notify_sent_by_me = bool(ask.body.get("notifySentByMe", False))
        else:
            ask.instance.webhook.by_kind[kind] = url
        return json_response({"value": True})

    # -- guards ---------------------------------------------------------------------------------------------------

    def _plain(self, work: Work) -> Handler:
        """Faults, latency, guard and error envelope around a call that sends nothing."""

        async def handler(request: web.Request) -> web.StreamResponse:
            name = request.match_info["name"]
            if name in self.world.instances:
                self.world.truth.totals[name].other_calls += 1
            strike = self.world.faults.on_call(Provider.ZAPI, name, Calls.OTHER)
            raw = await request.read()
            await asyncio.sleep(sum(latency(self.world, strike)))
            if strike.answer is not None and strike.answer.kind in TRANSPORT_KINDS:
                return await spoiled(request, strike.answer, accepted_status=200)
            try:
                body = _parse(request, raw) if request.method in ("POST", "PUT") else {}
                return await work(Ask(self._guard(request), request, body, strike.answer))
            except ZapiError as error:
                return error.response()

        return handler

    def _guard(self, request: web.Request) -> Instance:
        instance = self.world.instances.get(request.match_info["name"])
        if instance is None or instance.provider is not Provider.ZAPI:
            raise ZapiError(404, "Instance not found")
        if instance.token != request.match_info["token"]:
            raise ZapiError(404, "Instance not found")
        client_token = request.headers.get("Client-Token")
        if instance.client_token and client_token != instance.client_token:
            raise ZapiError(403, f"{client_token or 'null'} not allowed")
        return instance


def delivery_error(fault: Fault | None) -> tuple[str, bool]:
    """Send rejections come by webhook: the error of the delivery callback, and whether the message left anyway."""
    if fault is None:
        return "", True
    if fault.kind in (Kind.RESTRITO, Kind.RESTRITO_201_ERROR):
        return str(fault.parameters.get("message", zapi_events.NOT_ALLOWED)), False
    if fault.kind is Kind.ERRO_NA_ENTREGA:
        return str(fault.parameters.get("message", UNKNOWN_DELIVERY)), fault.sends
    return "", True


def _refuse(fault: Fault) -> None:
    """Raise the answer of a fault that refuses in the answer itself; the other kinds pass."""
    message = str(fault.parameters.get("message", "Error on send message"))
    if fault.kind in (Kind.NAO_ENVIOU_400, Kind.ENVIOU_400, Kind.RESTRITO_400):
        raise ZapiError(400, message)
    if fault.kind is Kind.NAO_ENVIOU_500:
        raise ZapiError(500, message)


def not_allowed(status: int) -> web.Response:
    """Wrong method or path in Z-API's words."""
    return ZapiError(status, "Method not allowed" if status == 405 else "Not found").response()


def _parse(request: web.Request, raw: bytes) -> dict[str, Any]:
    if raw and request.content_type != "application/json":
        raise ZapiError(415, "Unsupported Media Type")
    try:
        body = json.loads(raw) if raw else {}
    except ValueError as error:
        raise ZapiError(400, "Invalid JSON") from error
    return body if isinstance(body, dict) else {}


def _spelled(world: World, phone: str) -> str:
    return world.target_jid(phone).partition("@")[0]


def _queued(entry: Queued) -> dict[str, Any]:
    return {
        "ZaapId": entry.zaap_id,
        "MessageId": entry.message_id,
        "Phone": entry.phone,
        "Message": entry.text,
        "Created": entry.created_ms,
        "DelayMessage": int(entry.delay_s or 0),
    }
