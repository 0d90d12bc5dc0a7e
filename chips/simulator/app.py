"""Puts the simulator together: one world, three listeners (control and both providers; Evolution; Z-API)."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from chips.simulator import evolution_api, zapi
from chips.simulator.control import ControlApi
from chips.simulator.evolution import EvolutionApi
from chips.simulator.fast import FastProtocol
from chips.simulator.options import Options
from chips.simulator.replies import Replies
from chips.simulator.state import Provider, World
from chips.simulator.zapi import ZapiApi

BACKLOG = 1024
BODY_LIMIT = 16 * 1024 * 1024
SHUTDOWN_S = 1.0

BUSY = web.AppKey("BUSY", set[asyncio.Protocol])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def in_provider_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Unknown paths and wrong methods answer as the provider that owns the path would; busy connections are noted."""
    busy = request.app[BUSY]
    busy.add(request.protocol)
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        if request.path.startswith("/instances/"):
            return zapi.not_allowed(error.status)
        return evolution_api.not_found_route(request)
    finally:
        busy.discard(request.protocol)


class Listener:
    """One port. It can stop listening, as a dead server does, and come back on the same port."""

    def __init__(self, world: World, app: web.Application, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._world = world
        self._app = app
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        self._socket: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def start(self) -> None:
        await self._runner.setup()
        await self.listen()

    async def listen(self) -> None:
        if self._socket is None:
            self._socket = await asyncio.get_running_loop().create_server(
                self._protocol, self.host, self.port, backlog=BACKLOG, reuse_address=True
            )
            self.port = self._socket.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Idle connections close at once, busy ones after their answer; new ones are refused."""
        if self._socket is None or self._runner.server is None:
            return
        self._socket.close()
        self._socket = None
        for connection in self._runner.server.connections:
            if connection in self._app[BUSY]:
                connection.close()
            else:
                connection.force_close()

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        await self._runner.cleanup()

    def _protocol(self) -> asyncio.Protocol:
        return FastProtocol(self._world, self._framework) if self._world.options.fast else self._framework()

    def _framework(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None:
            raise ConnectionAbortedError("the listener is not set up")
        return server()


class Simulator:
    """The running server of one process. `control` answers for everything; the others for their provider."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.world = World(options)
        self.replies = Replies(self.world)
        self.control = Listener(self.world, self._app(), options.host, options.port)
        self.providers = {
            Provider.EVOLUTION: Listener(self.world, self._app(), options.host, options.evolution_port),
            Provider.ZAPI: Listener(self.world, self._app(), options.host, options.zapi_port),
        }
        self._timers: set[asyncio.Task[None]] = set()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[in_provider_words], client_max_size=BODY_LIMIT)
        app[BUSY] = set()
        app.add_routes(ControlApi(self.world, self.replies, self).routes())
        app.add_routes(EvolutionApi(self.world, self.replies).routes())
        app.add_routes(ZapiApi(self.world, self.replies).routes())
        return app

    def addresses(self) -> dict[str, str]:
        """What a starter needs to know; the nonce only where nobody else chose it."""
        found = {"simulador": self.control.url}
        found |= {provider.value: listener.url for provider, listener in self.providers.items()}
        return found | ({"nonce": self.options.nonce} if self.options.nonce_was_generated else {})

    async def start(self) -> None:
        for listener in (self.control, *self.providers.values()):
            await listener.start()

    async def stop(self) -> None:
        """Held calls break; webhooks that still wait are lost, as on the real server."""
        self._cancel_timers()
        self.world.faults.lift()
        for task in list(self.world.tasks):
            task.cancel()
        for listener in (self.control, *self.providers.values()):
            await listener.close()
        await self.world.webhooks.close()

    async def refuse(self, provider: Provider, duration_s: float | None) -> None:
        await self.providers[provider].refuse()
        if duration_s is not None:
            timer = asyncio.get_running_loop().create_task(self._listen_after(provider, duration_s))
            self._timers.add(timer)
            timer.add_done_callback(self._timers.discard)

    async def accept_again(self) -> None:
        self._cancel_timers()
        for listener in self.providers.values():
            await listener.listen()

    async def _listen_after(self, provider: Provider, duration_s: float) -> None:
        await asyncio.sleep(duration_s)
        await self.providers[provider].listen()

    def _cancel_timers(self) -> None:
        for timer in list(self._timers):
            timer.cancel()
