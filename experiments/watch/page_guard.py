"""Who may talk to the page's server: whoever has the token, by the page's own address.

Any user and any web page of this machine can reach a port on loopback. A page of another
site is told apart by ``Host`` (DNS rebinding) and ``Origin``, another user by the token.
"""

from __future__ import annotations

import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Sent with every answer.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class PageGuard:
    """Lets pass what has the token's cookie and names this server as its host."""

    def __init__(self, app: ASGIApp, port: int, token: str) -> None:
        self._app = app
        self._token = token
        # Cookies do not keep ports apart: two watchers must not overwrite each other's.
        self._cookie = f"resetbed-watch-{port}"
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(Request(scope)) or self._app
        await answer(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """The answer to what may not pass, or that sets the cookie; None: it may pass."""
        if request.headers.get("host") not in self._hosts:
            return PlainTextResponse("This server is not asked by that name.\n", 403)
        given = request.query_params.get("token")
        if request.url.path == "/" and given is not None and self._is_token(given):
            return self._admitted()
        if not self._is_token(request.cookies.get(self._cookie, "")):
            text = "Open the address that ./resetbed watch has printed.\n"
            return PlainTextResponse(text, 403)
        if request.method not in ("GET", "HEAD"):
            return self._refused_change(request)
        return None

    def _refused_change(self, request: Request) -> Response | None:
        if request.headers.get("origin") not in self._origins:
            return PlainTextResponse("Only the page itself may change anything.\n", 403)
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind != "application/json":
            return PlainTextResponse("A request to change something is JSON.\n", 415)
        return None

    def _admitted(self) -> Response:
        """The same page without the token in its address."""
        response = RedirectResponse("/", 303)
        response.set_cookie(
            self._cookie, self._token, path="/", httponly=True, samesite="strict"
        )
        return response

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())
