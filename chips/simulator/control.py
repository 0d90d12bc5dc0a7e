"""The control API under `/__simulador__/`: recognition, wire truth, chips, faults, inbound messages, replies.

Everything but `GET prova` needs the header `X-Simulador-Nonce`.
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Protocol

from aiohttp import web

from chips.simulator import clock, evolution_events
from chips.simulator.answers import json_response
from chips.simulator.connection import set_state
from chips.simulator.faults import HITS_ANY_CALL, PARAMETERS, Calls, Fault, Kind
from chips.simulator.inbound import Inbound
from chips.simulator.numbers import GROUP_SUFFIX, person_of
from chips.simulator.options import NONCE_HEADER, PREFIX, Span
from chips.simulator.replies import Replies, ReplyPolicy
from chips.simulator.state import Contact, Instance, Provider, State, Webhook, World
from chips.simulator.webhooks import Delivery

FAULT_FIELDS = frozenset(
    {"kind", "instance", "provider", "calls", "count", "after", "after_sent", "probability", "duration_s"}
)
RESTRICTED_MODES = frozenset({Kind.RESTRITO, Kind.RESTRITO_400, Kind.RESTRITO_201_ERROR})
FLAGS = ("never_connected", "leaks_apikey", "acks_by_lid", "phone_exists_as_list", "notify_sent_by_me")

Work = Callable[[web.Request, Any], Awaitable[Any]]


class Listeners(Protocol):
    """The sockets of the two providers, as far as control may close them."""

    async def refuse(self, provider: Provider, duration_s: float | None) -> None:
        """Stop listening: callers get a refused connection. `None` is until `accept_again`."""

    async def accept_again(self) -> None:
        """Listen again on the same ports."""


class ControlError(Exception):
    """A control call that makes no sense; the text is for the person at the drill."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ControlApi:
    def __init__(self, world: World, replies: Replies, listeners: Listeners) -> None:
        self.world = world
        self.replies = replies
        self.listeners = listeners

    def routes(self) -> list[web.RouteDef]:
        guarded = self._guarded
        return [
            web.get(f"{PREFIX}/prova", self.proof),
            web.get(f"{PREFIX}/verdade", guarded(self.truth)),
            web.delete(f"{PREFIX}/verdade", guarded(self.clear_truth)),
            web.get(f"{PREFIX}/chamadas", guarded(self.calls)),
            web.get(f"{PREFIX}/chips", guarded(self.list_chips)),
            web.post(f"{PREFIX}/chips", guarded(self.register)),
            web.post(f"{PREFIX}/chips/{{name}}/estado", guarded(self.set_state)),
            web.get(f"{PREFIX}/chips/{{name}}/mensagens", guarded(self.messages)),
            web.get(f"{PREFIX}/falhas", guarded(self.list_faults)),
            web.post(f"{PREFIX}/falhas", guarded(self.add_fault)),
            web.post(f"{PREFIX}/falhas/limpar", guarded(self.clear_faults)),
            web.post(f"{PREFIX}/entrada", guarded(self.inbound)),
            web.post(f"{PREFIX}/respostas", guarded(self.set_replies)),
            web.post(f"{PREFIX}/numeros", guarded(self.set_number)),
            web.get(f"{PREFIX}/webhooks", guarded(self.webhooks)),
            web.post(f"{PREFIX}/webhooks", guarded(self.emit)),
            web.post(f"{PREFIX}/ajustes", guarded(self.adjust)),
            web.post(f"{PREFIX}/semente", guarded(self.reseed)),
            web.post(f"{PREFIX}/relogio", guarded(self.set_clock)),
            web.post(f"{PREFIX}/reinicio", guarded(self.reset)),
        ]

    def _guarded(self, work: Work) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handler(request: web.Request) -> web.StreamResponse:
            sent = request.headers.get(NONCE_HEADER, "")
            if not hmac.compare_digest(sent.encode(), self.world.options.nonce.encode()):
                return json_response({"erro": f"Envie o cabeçalho {NONCE_HEADER} com o nonce do simulador."}, 401)
            try:
                raw = await request.read()
                return json_response(await work(request, json.loads(raw) if raw else {}))
            except ControlError as error:
                return json_response({"erro": str(error)}, error.status)
            except (ValueError, TypeError, KeyError) as error:
                return json_response({"erro": f"Pedido inválido: {error}"}, 400)

        return handler

    async def proof(self, request: web.Request) -> web.Response:
        challenge = request.query.get("desafio", "")
        digest = hmac.new(self.world.options.nonce.encode(), challenge.encode(), hashlib.sha256).hexdigest()
        return json_response({"hmac": digest})

    # -- truth ----------------------------------------------------------------------------------------------------

    async def truth(self, request: web.Request, body: Any) -> dict[str, Any]:
        """`resumo=1` leaves the records out; `desde=N` gives only those after seq N."""
        truth = self.world.truth
        answer: dict[str, Any] = {
            "total": len(truth.records),
            "delivered": sum(record.delivered for record in truth.records),
            "duplicates": [asdict(duplicate) for duplicate in truth.duplicates()],
            "open_calls": [asdict(call) for call in truth.open_calls.values()],
            "max_open": truth.max_open,
            "totals": {chip: asdict(totals) for chip, totals in truth.totals.items()},
        }
        if request.query.get("resumo") != "1":
            since = int(request.query.get("desde", "0"))
            answer["records"] = [asdict(record) for record in truth.records if record.seq > since]
        return answer

    async def clear_truth(self, request: web.Request, body: Any) -> dict[str, Any]:
        self.world.truth.clear()
        return {"total": 0}

    async def calls(self, request: web.Request, body: Any) -> dict[str, Any]:
        chip = request.query.get("instance")
        return {"calls": [asdict(call) for call in self.world.truth.calls if chip in (None, call.chip)]}

    # -- chips ----------------------------------------------------------------------------------------------------

    async def list_chips(self, request: web.Request, body: Any) -> dict[str, Any]:
        return {"chips": [_described(chip) for chip in self.world.instances.values()]}

    async def register(self, request: web.Request, body: Any) -> dict[str, Any]:
        """One instance or a list. A known name keeps its messages and queue and takes the fields given."""
        chips = [self._register(values) for values in (body if isinstance(body, list) else [body])]
        return {"chips": [_described(chip) for chip in chips]}

    def _register(self, values: dict[str, Any]) -> Instance:
        name = str(values["name"])
        chip = self.world.instances.get(name)
        hook = values.get("webhook")
        if hook and hook.get("url") and not self.world.webhooks.allowed(str(hook["url"])):
            raise ControlError("O webhook precisa apontar para esta máquina ou para um --host-webhook.")
        if chip is None:
            provider = Provider(values.get("provider", Provider.EVOLUTION))
            token = str(values.get("token") or self.world.new_id("", 32).upper())
            chip = Instance(name, provider, str(values["phone"]), token, self.world.instance_uuid(name))
            self.world.instances[name] = chip
        chip.phone = str(values.get("phone", chip.phone))
        chip.token = str(values.get("token") or chip.token)
        chip.client_token = str(values.get("client_token", chip.client_token))
        chip.groups |= set(values.get("groups", []))
        for flag in FLAGS:
            setattr(chip, flag, bool(values.get(flag, getattr(chip, flag))))
        if hook is not None:
            chip.webhook = _webhook(hook)
        if "state" in values:
            chip.state = State(values["state"])
            chip.reported = State.CLOSE if chip.state is State.CLOSE else State.OPEN
        return chip

    async def set_state(self, request: web.Request, body: Any) -> dict[str, Any]:
        chip = self._chip(request.match_info["name"])
        set_state(
            self.world,
            self.replies,
            chip,
            State(body["state"]),
            code=body.get("code"),
            burst=int(body.get("burst", 1)),
            silent=bool(body.get("silent", False)),
        )
        return _described(chip)

    async def messages(self, request: web.Request, body: Any) -> dict[str, Any]:
        chip = self._chip(request.match_info["name"])
        return {"messages": [asdict(row) for row in chip.messages.values()]}

    def _chip(self, name: str) -> Instance:
        chip = self.world.instances.get(name)
        if chip is None:
            raise ControlError(f'A instância "{name}" não está registrada no simulador.', 404)
        return chip

    # -- faults ---------------------------------------------------------------------------------------------------

    async def list_faults(self, request: web.Request, body: Any) -> dict[str, Any]:
        return {"faults": [fault.described() for fault in self.world.faults.faults]}

    async def add_fault(self, request: web.Request, body: Any) -> dict[str, Any]:
        fault = self._fault(dict(body))
        if fault.kind is Kind.RECUSA:
            await self.listeners.refuse(Provider(fault.provider or ""), fault.duration_s)
        return fault.described()

    def _fault(self, values: dict[str, Any]) -> Fault:
        """`restringe_apos` is a restriction that starts after `n` more sends of the chip."""
        if values.get("kind") == "restringe_apos":
            values["kind"] = values.pop("mode", Kind.RESTRITO)
            values["after_sent"] = int(values.pop("n"))
            if values["kind"] not in RESTRICTED_MODES:
                raise ControlError("mode: restrito, restrito_400 ou restrito_201_error.")
        kind = Kind(values.pop("kind"))
        if kind is Kind.ERRO_NA_ENTREGA:
            values["provider"] = values.get("provider") or Provider.ZAPI
        if kind is Kind.RECUSA and not values.get("provider"):
            raise ControlError("A recusa fecha a porta de um provedor: informe provider (evolution ou z-api).")
        if values.get("provider") is not None:
            values["provider"] = Provider(values["provider"])
        if values.get("instance") is not None:
            self._chip(values["instance"])
        calls = Calls(values.pop("calls", Calls.ANY if kind in HITS_ANY_CALL else Calls.SEND))
        known = {name: values.pop(name) for name in FAULT_FIELDS & values.keys()}
        if unknown := values.keys() - PARAMETERS.get(kind, frozenset()):
            raise ControlError(f"A falha {kind} não conhece: {', '.join(sorted(unknown))}.")
        return self.world.faults.add(kind=kind, calls=calls, parameters=values, **known)

    async def clear_faults(self, request: web.Request, body: Any) -> dict[str, Any]:
        """All of them, or the one whose `id` is given."""
        lifted = self.world.faults.lift(body.get("id"))
        if any(fault.kind is Kind.RECUSA for fault in lifted):
            await self.listeners.accept_again()
        return {"lifted": [fault.id for fault in lifted]}

    # -- people ---------------------------------------------------------------------------------------------------

    async def inbound(self, request: web.Request, body: Any) -> dict[str, Any]:
        """`lid` true addresses the sender by LID, a text is that LID; `phone_beside` false hides the telephone."""
        chip = self._chip(str(body["instance"]))
        sender = str(body["from"])
        person = sender if sender.endswith(GROUP_SUFFIX) else person_of(sender)
        if isinstance(body.get("lid"), str):
            self.world.contacts[person] = Contact(lid=body["lid"])
        known = {"by_lid": bool(body.get("lid")), "with_phone": bool(body.get("phone_beside", True))}
        optional = ("key_id", "from_me", "push_name", "quoted", "message_type", "content", "at")
        known |= {name: body[name] for name in optional if name in body}
        inbound = Inbound.text_from(self.world, person, str(body.get("text", "")), **known)
        held = chip.state is not State.OPEN
        return {"key_id": self.replies.inject(chip, inbound), "held": held}

    async def set_replies(self, request: web.Request, body: Any) -> dict[str, Any]:
        """Replaces the whole policy; an empty body silences everybody."""
        policy = ReplyPolicy(instance=body.get("instance"), lid=bool(body.get("lid", False)))
        policy.probability = float(body.get("probability", 0.0))
        if "delay_s" in body:
            policy.delay_s = Span(*body["delay_s"])
        policy.texts = list(body.get("texts", policy.texts))
        policy.opt_out_texts = list(body.get("opt_out_texts", policy.opt_out_texts))
        policy.opt_out_recipients = {person_of(str(number)) for number in body.get("opt_out_recipients", [])}
        policy.opt_out_on = {int(n) for n in body.get("opt_out_on", [])}
        policy.by_recipient = {person_of(number): str(text) for number, text in body.get("by_recipient", {}).items()}
        self.replies.policy = policy
        return {"probability": policy.probability, "by_recipient": len(policy.by_recipient)}

    async def set_number(self, request: web.Request, body: Any) -> dict[str, Any]:
        """What the provider believes about a number; `jid` may be somebody else's (contract §1.11)."""
        known = {name: body[name] for name in ("exists", "jid", "lid", "name") if name in body}
        person = person_of(str(body["number"]))
        self.world.contacts[person] = Contact(**known)
        return {"person": person, **known}

    # -- webhooks and knobs ---------------------------------------------------------------------------------------

    async def webhooks(self, request: web.Request, body: Any) -> dict[str, Any]:
        """`posts=1` adds the last 500 posts with their bodies. `pending` 0 means that nothing is under way."""
        answer = self.world.webhooks.described() | {"open_calls": len(self.world.truth.open_calls)}
        if request.query.get("posts") == "1":
            answer["history"] = [asdict(post) for post in self.world.webhooks.history]
        return answer

    async def emit(self, request: web.Request, body: Any) -> dict[str, Any]:
        """Post an event of one's own: `event` + `data` in the envelope, or a whole `body` as it is (replays)."""
        chip = self._chip(str(body["instance"]))
        own = body.get("body")
        if chip.provider is Provider.EVOLUTION:
            event = str(body.get("event") or own["event"])
            task = evolution_events.emit(self.world, chip, event, body.get("data"), own_body=own)
        else:
            hook = chip.webhook
            delivery = Delivery(chip.provider, chip.name, str(own.get("type", "")), hook.url, hook.headers, own)
            task = self.world.webhooks.emit(delivery)
        return {"emitted": task is not None}

    async def adjust(self, request: web.Request, body: Any) -> dict[str, Any]:
        pacing = self.world.pacing
        for name, value in body.items():
            if name not in pacing.__slots__:
                raise ControlError(f"Ajuste desconhecido: {name}. Existem: {', '.join(pacing.__slots__)}.")
            setattr(
                pacing,
                name,
                Span(*value) if isinstance(getattr(pacing, name), Span) else type(getattr(pacing, name))(value),
            )
        return asdict(pacing)

    async def reseed(self, request: web.Request, body: Any) -> dict[str, Any]:
        self.world.reseed(int(body["semente"]))
        return {"semente": self.world.seed}

    async def set_clock(self, request: web.Request, body: Any) -> dict[str, Any]:
        """`deslocamento_s`: how far the provider's clock runs ahead of the machine's."""
        clock.shift(float(body["deslocamento_s"]))
        return {"agora": clock.now()}

    async def reset(self, request: web.Request, body: Any) -> dict[str, Any]:
        """Back to the state right after start; held calls break, listeners accept again."""
        self.world.faults.lift()
        await self.listeners.accept_again()
        await self.world.webhooks.close()
        self.world.reset()
        self.replies.policy = ReplyPolicy()
        return {"chips": 0}


def _webhook(values: dict[str, Any]) -> Webhook:
    return Webhook(
        url=str(values.get("url", "")),
        headers={str(name): str(value) for name, value in values.get("headers", {}).items()},
        events=list(values.get("events", [])),
        by_events=bool(values.get("by_events", False)),
        by_kind=dict(values.get("by_kind", {})),
    )


def _described(chip: Instance) -> dict[str, Any]:
    """Without token and webhook headers: control answers end up in drill reports."""
    return {
        "name": chip.name,
        "provider": chip.provider,
        "phone": chip.phone,
        "state": chip.state,
        "reported": chip.reported,
        "instance_id": chip.uuid,
        "webhook_url": chip.webhook.url,
        "messages": len(chip.messages),
        "queue": len(chip.queue),
        "held_inbound": len(chip.held_inbound),
        **{flag: getattr(chip, flag) for flag in FLAGS},
    }
