"""The page's server: on loopback, for whoever has the token in its address.

It serves the files of ``page/``, the views as server-sent events, the ladder of a reset, and
hands events to the cluster.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from experiments.cluster import control
from experiments.watch.feed import Feed, WatchEnding
from experiments.watch.kept_address import LOOPBACK, listen
from experiments.watch.page_guard import PageGuard
from experiments.watch.seen_ladder import seen_ladder_svg
from experiments.watch.seen_resets import SeenReset
from experiments.watch.view import RUN, UP
from experiments.watch.view_hub import ViewHub
from topologies.domain.events import EVENTS
from topologies.runs import NotRunning, find_run

PAGE = Path(__file__).with_name("page")
#: An event is short.
MAX_BODY_BYTES = 4096
#: An event may build a chassis first, in seconds.
EVENT_S = 120.0
#: The drawing has its style in itself.
_DRAWING = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}

#: Causes an event of a kind on a target. Raises :class:`control.ControlError` or ``OSError``.
CauseEvent = Callable[[str, str], object]
FindReset = Callable[[int], SeenReset | None]


class PageRequests:
    """The answers to the page's requests."""

    def __init__(
        self, hub: ViewHub, cause_event: CauseEvent, find_reset: FindReset
    ) -> None:
        self._hub = hub
        self._cause_event = cause_event
        self._find_reset = find_reset

    async def page(self, _request: Request) -> Response:
        """The page."""
        return FileResponse(PAGE / "index.html")

    async def stream(self, _request: Request) -> Response:
        """The views, as they come."""
        return StreamingResponse(self._hub.stream(), media_type="text/event-stream")

    async def event(self, request: Request) -> Response:
        """Causes an event; answers when the switches have it."""
        asked = await _asked(request)
        if asked is None:
            return _error(400, 'expected {"kind": KIND, "target": TARGET}')
        view = self._hub.view
        if view.get("phase") == RUN:
            return _error(409, "a run is shown: its spec alone says its events")
        if view.get("phase") != UP:
            return _error(503, view.get("message") or "no cluster runs")
        kind, target = asked
        if kind not in EVENTS:
            return _error(409, f"no event {kind!r}; there are: {', '.join(EVENTS)}")
        try:
            await run_in_threadpool(self._cause_event, kind, target)
        except control.ControlError as error:
            return _error(409, str(error))
        except (OSError, NotRunning) as error:
            return _error(503, f"the cluster does not answer: {error}")
        return JSONResponse({"ok": True})

    async def ladder(self, request: Request) -> Response:
        """The ladder of a reset that a view has shown."""
        reset = self._find_reset(request.path_params["serial"])
        if reset is None:
            return _error(404, "that reset is gone; newer ones have come")
        return Response(seen_ladder_svg(reset), 200, _DRAWING, "image/svg+xml")


def page_app(requests: PageRequests, port: int, token: str) -> Starlette:
    """The application, guarded."""
    return Starlette(
        routes=[
            Route("/", requests.page),
            Route("/stream", requests.stream),
            Route("/event", requests.event, methods=["POST"]),
            Route("/ladder/{serial:int}.svg", requests.ladder),
            Mount("/page", StaticFiles(directory=PAGE)),
        ],
        middleware=[Middleware(PageGuard, port=port, token=token)],
    )


def serve_page(
    feed: Feed, ending: WatchEnding, port: int, say: Callable[[str], object]
) -> None:
    """Serves the page of that feed until ``ending``; ``say`` gets its address.

    Raises :class:`OSError` if the port is taken.
    """
    hub = ViewHub()

    def cause_event(kind: str, target: str) -> object:
        path = find_run(feed.name).directory / "control.sock"
        return control.request(path, "events", EVENT_S, words=[kind, target])

    listener, token = listen(feed.name, port)
    with listener:
        port = listener.getsockname()[1]
        app = page_app(PageRequests(hub, cause_event, feed.find_reset), port, token)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=2
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=_serve, args=(server, listener, hub))
        thread.start()
        try:
            say(f"http://{LOOPBACK}:{port}/?token={token}")
            feed.run(hub.publish, ending)
        finally:
            hub.close()
            server.should_exit = True
            thread.join()


def _serve(server: uvicorn.Server, listener: socket.socket, hub: ViewHub) -> None:
    """The server in a thread of its own: signals belong to the other one."""

    async def serve() -> None:
        hub.bind(asyncio.get_running_loop())
        await server.serve([listener])

    asyncio.run(serve())


async def _asked(request: Request) -> tuple[str, str] | None:
    """Kind and target of a request for an event; None if it is something else."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    try:
        found: Any = json.loads(body)
        kind, target = found["kind"], found["target"]
    except (ValueError, KeyError, TypeError):
        return None
    return (kind, target) if isinstance(kind, str) and isinstance(target, str) else None


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)
