"""Serves the page of one run on loopback, and its events as they come.

GET  /<token>/          the page
GET  /<token>/events    server-sent events: the whole state (edgenet.web.state) at each change, so
                        that a browser which lost its connection, or is slow, has missed nothing
POST /<token>/order     an order (edgenet.launchers.control): {"says": ...} or {"refused": ...}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator
from importlib import resources
from types import TracebackType

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from edgenet.errors import InputError
from edgenet.launchers.control import ask
from edgenet.results.rundir import RunDir
from edgenet.results.style import COLOURS
from edgenet.web.guard import Guard
from edgenet.web.state import Story

_TICK_S = 0.4
_BEAT_S = 5.0
"""A comment crosses this often, so that a connection that is gone is noticed."""
_GRACE_S = 1.0
"""What a browser has to take in the last state, once the server ends."""
_MOST_BYTES = 16384
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Page:
    """The application of one run.

    Args:
        run: what is shown.
    """

    def __init__(self, run: RunDir) -> None:
        self._run, self._story = run, Story(run)
        self._latest, self._number = "", 0
        self._changed = asyncio.Condition()
        self.closing = False
        """Nothing more will come: streams end."""
        self.app = Starlette(
            routes=[
                Route("/", self._asset),
                Route("/events", self._events),
                Route("/order", self._order, methods=["POST"]),
                Route("/{name}", self._asset),
            ],
            lifespan=self._follow,
        )

    @contextlib.asynccontextmanager
    async def _follow(self, app: Starlette) -> AsyncIterator[None]:
        following = asyncio.create_task(self._keep_up())
        yield
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following

    async def _keep_up(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(_TICK_S)

    async def _look(self) -> None:
        state = await run_in_threadpool(self._read)
        async with self._changed:
            if state != self._latest or self.closing:
                self._latest, self._number = state, self._number + 1
                self._changed.notify_all()

    def _read(self) -> str:
        self._story.update()
        return json.dumps(self._story.state(), separators=(",", ":"))

    async def _events(self, request: Request) -> Response:
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers=headers)

    async def _stream(self) -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        seen = 0
        while True:
            async with self._changed:
                if self._number == seen:
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), _BEAT_S)
                news, number = self._latest, self._number
            yield f"event: state\ndata: {news}\n\n" if number > seen else ": beat\n\n"
            seen = number
            if self.closing:
                return

    async def _order(self, request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("application/json"):
            return PlainTextResponse("an order is JSON\n", 415)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BYTES:
                return PlainTextResponse("an order is short\n", 413)
        try:
            order = json.loads(body)
            if not isinstance(order, dict):
                raise InputError("an order is a JSON object")
            return JSONResponse({"says": await run_in_threadpool(ask, self._run, order)})
        except ValueError as error:
            return JSONResponse({"refused": f"an order is a JSON object: {error}"}, 400)
        except InputError as error:
            return JSONResponse({"refused": str(error)})

    async def _asset(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name == "colours.css":
            return Response(COLOURS, media_type="text/css")
        file = resources.files("edgenet.web") / "page" / name
        kind = _TYPES.get(name.rpartition(".")[2])
        if "/" in name or kind is None or not file.is_file():
            return PlainTextResponse("edgenet: there is no such file\n", 404)
        return Response(file.read_bytes(), media_type=kind)


class _Ending(uvicorn.Server):
    """Ends in time, whether browsers read on or not: a page that stands still (its process is
    stopped, its host asleep) would keep a run from its end."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Hang up on who is still there after the grace."""
        hanging_up = asyncio.get_running_loop().call_later(_GRACE_S, self._hang_up)
        await super().shutdown(sockets)
        hanging_up.cancel()

    def _hang_up(self) -> None:
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


class Server:
    """Serves the page of a run on a thread while it is entered; a view of the run, too.

    Args:
        run: what is shown.
        listener: a socket that listens on loopback; it is closed with the server.
    """

    def __init__(self, run: RunDir, listener: socket.socket) -> None:
        self._socket = listener
        self._page = Page(run)
        number = self._socket.getsockname()[1]
        guard = Guard(self._page.app, number)
        self.url = f"http://127.0.0.1:{number}/{guard.token}/"
        """The page's address; whoever has it may act on the run."""
        self._server = _Ending(
            uvicorn.Config(
                guard,
                log_level="error",
                access_log=False,
                lifespan="on",
                ws="none",
                server_header=False,
            )
        )
        self._thread = threading.Thread(target=self._serve, name="watch", daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._page.closing = True
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def update(self) -> None:
        """Nothing to do here: the page follows the run's files by itself."""

    def wait(self) -> None:
        """Until the server has ended, for whatever reason."""
        self._thread.join()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])
