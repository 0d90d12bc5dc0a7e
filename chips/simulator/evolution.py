"""Evolution API 2.3.6: the routes, and the calls about instances, settings and webhooks (contract §1.2, §1.8)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from chips.simulator import evolution_chat
from chips.simulator.answers import TRANSPORT_KINDS, json_response, spoiled
from chips.simulator.connection import reconnect, set_state
from chips.simulator.evolution_api import (
    FAULT,
    EvolutionError,
    RawError,
    database_gone,
    guard,
    guard_global,
    parse,
    schema_error,
)
from chips.simulator.evolution_events import announce_qrcode
from chips.simulator.evolution_send import latency, send_text
from chips.simulator.faults import Calls, Kind
from chips.simulator.replies import Replies
from chips.simulator.state import Instance, Provider, State, Webhook, World, iso_now

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Call = Callable[[World, web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]

VERSION = "2.3.6"
CONNECT_WAIT_S = 2.0
EVENTS = (
    "APPLICATION_STARTUP", "QRCODE_UPDATED", "MESSAGES_SET", "MESSAGES_UPSERT", "MESSAGES_EDITED", "MESSAGES_UPDATE",
    "MESSAGES_DELETE", "SEND_MESSAGE", "SEND_MESSAGE_UPDATE", "CONTACTS_SET", "CONTACTS_UPSERT", "CONTACTS_UPDATE",
    "PRESENCE_UPDATE", "CHATS_SET", "CHATS_UPSERT", "CHATS_UPDATE", "CHATS_DELETE", "GROUPS_UPSERT", "GROUP_UPDATE",
    "GROUP_PARTICIPANTS_UPDATE", "CONNECTION_UPDATE", "LABELS_EDIT", "LABELS_ASSOCIATION", "CALL", "TYPEBOT_START",
    "TYPEBOT_CHANGE_STATUS", "REMOVE_INSTANCE", "LOGOUT_INSTANCE", "STATUS_INSTANCE",
)  # fmt: skip
REQUIRED_SETTINGS = ("rejectCall", "groupsIgnore", "alwaysOnline", "readMessages", "readStatus", "syncFullHistory")
DEFAULT_SETTINGS = {**dict.fromkeys(REQUIRED_SETTINGS, False), "msgCall": "", "groupsIgnore": True, "wavoipToken": ""}


class EvolutionApi:
    def __init__(self, world: World, replies: Replies) -> None:
        self.world = world
        self.replies = replies

    def routes(self) -> list[web.RouteDef]:
        world = self.world

        async def send(request: web.Request) -> web.StreamResponse:
            return await send_text(world, request)

        plain = self._plain
        return [
            web.post("/message/sendText/{name}", send),
            web.get("/", plain(self.welcome)),
            web.get("/instance/connectionState/{name}", plain(self.connection_state)),
            web.get("/instance/fetchInstances", plain(self.fetch_instances)),
            web.get("/instance/connect/{name}", plain(self.connect)),
            web.post("/instance/restart/{name}", plain(self.restart)),
            web.post("/instance/create", plain(self.create)),
            web.delete("/instance/logout/{name}", plain(self.logout)),
            web.delete("/instance/delete/{name}", plain(self.delete)),
            web.get("/settings/find/{name}", plain(self.find_settings)),
            web.post("/settings/set/{name}", plain(self.set_settings)),
            web.get("/webhook/find/{name}", plain(self.find_webhook)),
            web.post("/webhook/set/{name}", plain(self.set_webhook)),
            web.post("/chat/whatsappNumbers/{name}", plain(evolution_chat.whatsapp_numbers)),
            web.post("/chat/findMessages/{name}", plain(evolution_chat.find_messages)),
            web.post("/chat/findStatusMessage/{name}", plain(evolution_chat.find_status_message)),
            web.post("/chat/sendPresence/{name}", plain(evolution_chat.send_presence)),
            web.post("/chat/markMessageAsRead/{name}", plain(evolution_chat.mark_as_read)),
            web.get("/group/acceptInviteCode/{name}", plain(evolution_chat.accept_invite)),
        ]

    def _plain(self, call: Call) -> Handler:
        """Faults, latency and error envelope around a call that sends nothing."""

        async def handler(request: web.Request) -> web.StreamResponse:
            name = request.match_info.get("name", "")
            if name in self.world.instances:
                self.world.truth.totals[name].other_calls += 1
            strike = self.world.faults.on_call(Provider.EVOLUTION, name, Calls.OTHER)
            raw = await request.read()
            await asyncio.sleep(sum(latency(self.world, strike)))
            fault = strike.answer
            if fault is not None:
                request[FAULT] = fault
            try:
                if fault is not None and fault.kind is Kind.BANCO_FORA:
                    raise database_gone(self.world, request)
                if fault is not None and fault.kind in TRANSPORT_KINDS:
                    return await spoiled(request, fault, accepted_status=200)
                return await call(self.world, request, parse(raw))
            except (EvolutionError, RawError) as error:
                return error.response()

        return handler

    async def welcome(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        message = "Welcome to the Evolution API, it is working!"
        return json_response({"status": 200, "message": message, "version": VERSION, "clientName": "evolution"})

    # -- instances ------------------------------------------------------------------------------------------------

    async def connection_state(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        return json_response(_state_body(guard(world, request)))

    async def fetch_instances(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        """The global key lists all with their tokens; an instance's token lists only its own."""
        key = request.headers.get("apikey", "")
        chips = [chip for chip in world.instances.values() if chip.provider is Provider.EVOLUTION]
        if key != world.options.apikey:
            chips = [chip for chip in chips if key and chip.token == key]
            if not chips:
                raise EvolutionError(401, "Unauthorized")
        wanted = request.query.get("instanceName")
        if wanted is not None:
            chips = [chip for chip in chips if chip.name == wanted]
            if not chips:
                raise EvolutionError(404, [f'Instance "{wanted}" not found'])
        return json_response([_listed(chip) for chip in chips])

    async def connect(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        instance = guard(world, request)
        if instance.state is State.OPEN:
            return json_response(_state_body(instance))
        if instance.state is State.CLOSE:
            set_state(world, self.replies, instance, State.CONNECTING)
            await asyncio.sleep(CONNECT_WAIT_S * world.pacing.pace)
            instance.qr_count += 1
            announce_qrcode(world, instance, _qr_code(instance))
        return json_response(_qr(instance))

    async def restart(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Always 200, and never says what happened."""
        instance = guard(world, request)
        match instance.state:
            case State.OPEN:
                answer = _state_body(instance)
                world.spawn(reconnect(world, self.replies, instance))
            case State.CONNECTING:
                answer = _qr(instance)
            case _:
                answer = {"error": True, "message": "[object Object]"}
        return json_response(answer)

    async def logout(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Destroys the session; answers before doing it."""
        instance = guard(world, request)
        if instance.state in (State.CLOSE, State.ABSENT):
            raise EvolutionError(400, [f'The "{instance.name}" instance is not connected'])
        set_state(world, self.replies, instance, State.CLOSE, code=401)
        return json_response(_done("Instance logged out"))

    async def create(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        guard_global(world, request)
        name = str(body.get("instanceName", "undefined"))
        if name in world.instances or (name == "undefined" and world.instances):
            raise EvolutionError(403, [f'This name "{name}" is already in use.'])
        if body.get("integration") != "WHATSAPP-BAILEYS":
            raise EvolutionError(400, ["Invalid integration"])
        hook = body.get("webhook")
        if isinstance(hook, dict) and not isinstance(hook.get("events"), list):
            raise EvolutionError(400, ["Cannot read properties of undefined (reading 'length')"])
        token = str(body.get("token") or world.new_id("", 32).upper())
        instance = Instance(name, Provider.EVOLUTION, str(body.get("number", "")), token, world.instance_uuid(name))
        instance.state = instance.reported = State.CLOSE
        instance.never_connected = True
        if isinstance(hook, dict):
            instance.webhook = _webhook_of(hook)
        instance.settings = {field: body[field] for field in DEFAULT_SETTINGS if field in body}
        world.instances[name] = instance
        if body.get("qrcode"):
            instance.state, instance.qr_count = State.CONNECTING, 1
        return json_response(_created(instance), 201)

    async def delete(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        instance = guard(world, request)
        del world.instances[instance.name]
        return json_response(_done("Instance deleted"))

    # -- settings and webhooks ------------------------------------------------------------------------------------

    async def find_settings(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        return json_response({**DEFAULT_SETTINGS, **guard(world, request).settings})

    async def set_settings(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        instance = guard(world, request)
        missing = [name for name in REQUIRED_SETTINGS if not isinstance(body.get(name), bool)]
        if missing:
            raise schema_error(*(f'instance requires property "{name}"' for name in missing))
        instance.settings = {name: body[name] for name in DEFAULT_SETTINGS if name in body}
        answer = {"instanceName": instance.name, "settings": {**DEFAULT_SETTINGS, **instance.settings}}
        return json_response({"settings": answer}, 201)

    async def find_webhook(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        instance = guard(world, request)
        return json_response(_webhook_row(instance) if instance.webhook.url else None)

    async def set_webhook(self, world: World, request: web.Request, body: dict[str, Any]) -> web.Response:
        instance = guard(world, request)
        hook = body.get("webhook")
        if not isinstance(hook, dict):
            raise schema_error('instance requires property "webhook"')
        events = hook.get("events")
        if not isinstance(events, list):
            raise EvolutionError(500, "Cannot read properties of undefined (reading 'length')")
        if not all(event in EVENTS for event in events):
            raise schema_error(f"webhook.events[0] is not one of enum values: {','.join(EVENTS)}")
        url = str(hook.get("url", ""))
        if not url.startswith(("http://", "https://")):
            raise EvolutionError(400, ['Invalid "url" property'])
        instance.webhook = _webhook_of(hook)
        return json_response(_webhook_row(instance), 201)


def _done(message: str) -> dict[str, Any]:
    return {"status": "SUCCESS", "error": False, "response": {"message": message}}


def _state_body(instance: Instance) -> dict[str, Any]:
    known: dict[str, Any] = {"instanceName": instance.name}
    if instance.state is not State.ABSENT:
        known["state"] = instance.state.value
    return {"instance": known}


def _qr_code(instance: Instance) -> str:
    return f"2@{instance.uuid.replace('-', '')}{instance.qr_count}"


def _qr(instance: Instance) -> dict[str, Any]:
    """`{"count": 0}` when no code exists, for example reconnecting with a valid session."""
    if not instance.qr_count:
        return {"count": 0}
    code = _qr_code(instance)
    return {"pairingCode": None, "code": code, "base64": f"data:image/png;base64,{code}", "count": instance.qr_count}


def _listed(instance: Instance) -> dict[str, Any]:
    """One entry of `fetchInstances`. `connectionStatus` is the stale one."""
    return {
        "id": instance.uuid,
        "name": instance.name,
        "connectionStatus": instance.reported.value,
        "ownerJid": None if instance.never_connected else instance.jid,
        "profileName": None if instance.never_connected else instance.name,
        "profilePicUrl": None,
        "integration": "WHATSAPP-BAILEYS",
        "number": None,
        "businessId": None,
        "token": instance.token,
        "clientName": "evolution",
        "disconnectionReasonCode": instance.disconnection_code,
        "disconnectionObject": None,
        "disconnectionAt": instance.disconnection_at,
        "createdAt": instance.created,
        "updatedAt": iso_now(),
        **dict.fromkeys(("Chatwoot", "Proxy", "Rabbitmq", "Nats", "Sqs", "Websocket")),
        "Setting": {**DEFAULT_SETTINGS, **instance.settings},
        "_count": {"Message": len(instance.messages), "Contact": 0, "Chat": 0},
    }


def _created(instance: Instance) -> dict[str, Any]:
    hook = instance.webhook
    answer: dict[str, Any] = {
        "instance": {
            "instanceName": instance.name,
            "instanceId": instance.uuid,
            "integration": "WHATSAPP-BAILEYS",
            "webhookWaBusiness": None,
            "accessTokenWaBusiness": "",
            "status": instance.state.value,
        },
        "hash": instance.token,
        "webhook": {
            "webhookUrl": hook.url,
            "webhookHeaders": hook.headers,
            "webhookByEvents": hook.by_events,
            "webhookBase64": hook.base64,
        },
        **{name: {} for name in ("websocket", "rabbitmq", "nats", "sqs")},
        "settings": {**DEFAULT_SETTINGS, **instance.settings},
    }
    if instance.qr_count:
        answer["qrcode"] = _qr(instance)
    return answer


def _webhook_of(hook: dict[str, Any]) -> Webhook:
    headers = hook.get("headers")
    return Webhook(
        url=str(hook.get("url", "")),
        headers={str(name): str(value) for name, value in headers.items()} if isinstance(headers, dict) else {},
        events=[str(event) for event in hook["events"]],
        enabled=bool(hook.get("enabled", True)),
        by_events=bool(hook.get("byEvents", False)),
        base64=bool(hook.get("base64", False)),
    )


def _webhook_row(instance: Instance) -> dict[str, Any]:
    hook = instance.webhook
    return {
        "id": f"c{instance.uuid.replace('-', '')[:24]}",
        "url": hook.url,
        "headers": hook.headers,
        "enabled": hook.enabled,
        "events": hook.events or list(EVENTS),
        "webhookByEvents": hook.by_events,
        "webhookBase64": hook.base64,
        "createdAt": instance.created,
        "updatedAt": iso_now(),
        "instanceId": instance.uuid,
    }
