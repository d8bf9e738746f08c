"""Who may open the page: everybody on this machine, and on the network whoever has the token.

On the loopback interface the operating system decides who may connect. Any other address is served only with a token:
a browser enters it once and gets a cookie for the life of the server, a program sends it with each request. Tokens are
compared in constant time, and appear neither in addresses nor in logs.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.errors import ConfigError

ENTER = "/enter"
MIN_TOKEN_CHARS = 16
_COOKIE = "designclip_session"
_MAX_FORM_BYTES = 4096
_WAIT_AFTER_WRONG_S = 1.0


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address that a socket is bound to.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_access(host: str, token: str | None) -> None:
    """Raise ConfigError unless an address may be served: others need a token, and one that cannot be guessed."""
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"serving on {host} lets others on the network search; set DESIGNCLIP_TOKEN (or --token) to a secret of at "
            f"least {MIN_TOKEN_CHARS} characters, or leave --host out"
        )
    if token is not None and len(token) < MIN_TOKEN_CHARS:
        raise ConfigError(f"the token has fewer than {MIN_TOKEN_CHARS} characters; use a longer one")


class TokenGate:
    """Lets only requests through that have the token, or the cookie that it was exchanged for.

    Args:
        app: The application behind it.
        token: The token.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token
        self._session = secrets.token_urlsafe(32)  # of this server; a restart ends all sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == ENTER and scope["method"] == "POST":
            await (await self._enter(Request(scope, receive)))(scope, receive, send)
            return
        if self._is_known(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith("/api") or scope["path"] == "/openapi.json":
            answer: Response = JSONResponse(
                {"error": "send the token of this server in the header Authorization: Bearer TOKEN"}, status_code=401
            )
            await answer(scope, receive, send)
            return
        # The page that asks for the token, in place of what was asked for.
        query = scope["query_string"] if scope["path"] == ENTER else b""
        scope = {**scope, "path": ENTER, "raw_path": ENTER.encode(), "method": "GET", "query_string": query}
        await self._app(scope, receive, _with_status(send, 401))

    def _is_known(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _are_equal(given.strip(), self._token):
            return True
        return _are_equal(cookie_parser(headers.get("cookie", "")).get(_COOKIE, ""), self._session)

    async def _enter(self, request: Request) -> Response:
        """Exchange the token of a form for a cookie."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_FORM_BYTES:
                return Response(status_code=413)
        (given,) = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[:1]
        if not _are_equal(given.strip(), self._token):
            await asyncio.sleep(_WAIT_AFTER_WRONG_S)
            return RedirectResponse(f"{ENTER}?wrong=1", status_code=303)
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(_COOKIE, self._session, httponly=True, samesite="strict")
        return answer


def _are_equal(given: str, expected: str) -> bool:
    """Whether two texts are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _with_status(send: Send, status: int) -> Send:
    """The same, with another status of the answer."""

    async def changed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "status": status}
            MutableHeaders(scope=message)["Cache-Control"] = "no-store"
        await send(message)

    return changed
