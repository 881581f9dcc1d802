"""The screens in a browser: textual-serve on this machine's own address, with a key in the address.

textual-serve asks nobody who they are. A loopback port is open to every user and every page in a browser of this
machine, and whoever has the screens can train, delete, and run what $EDITOR names. So the address has a key in it, for
which a browser gets a session, and a terminal is opened for pages of this server only (`access`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError
from workbench.tui.access import Access, is_loopback
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from aiohttp import web
    from textual_serve.app_service import AppService
    from textual_serve.server import Server

_MOST_CELLS = 1000
"""The widest and the highest terminal that a page may ask for."""
_FROM_ELSEWHERE = re.compile(r'<link[^>]*href="https?://[^>]*>')
_SOURCES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""What every answer says unless it says otherwise: no page of another site has the screens in a frame, and none is told
the address."""


def listen(host: str, port: int, *, exposed: bool = False) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises `WorkbenchError` where the port is taken.

    And for a host that others reach, unless `exposed`.
    """
    if not exposed and not is_loopback(host):
        raise WorkbenchError(
            "Only this machine may reach the screens",
            f"--host {host} would let others in. Nothing is encrypted, and whoever reads the address on the way "
            "could train, delete, and run your editor.",
            f"From another machine, forward the port: ssh -L {port}:127.0.0.1:{port} THIS_MACHINE\n"
            "Or, in a network that you trust as yourself: --expose",
        )
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise WorkbenchError(
            "The port cannot be had", f"{host}, port {port}: {error.strerror or error}.", "Choose another: --port 8001"
        ) from error


def address(listening: socket.socket, key: str) -> str:
    """What to open in a browser."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/?key={key}"


def serve(workspace: Workspace, listening: socket.socket, access: Access, *, slow: bool = False) -> None:
    """Serves whom `access` lets in until it is interrupted.

    Every page has screens of its own, which end with it; runs go on.
    """
    from aiohttp import web

    _log_faults_only()
    command = [sys.executable, "-P", "-m", "workbench", "--workspace", str(workspace.root)]
    server = _server(shlex.join([*command, *(["--slow"] if slow else [])]), access, listening.getsockname()[1])
    web.run_app(server._make_app(), sock=listening, print=lambda *_: None, access_log=None)


def check_installed() -> None:
    """Raises `WorkbenchError` where textual-serve is not there."""
    try:
        import textual_serve.server  # noqa: F401
    except ImportError as error:
        raise WorkbenchError(
            "The browser needs one more package",
            f"The package textual-serve is not installed ({error}).",
            "pip install 'alignment-workbench[web]'",
        ) from error


async def _say_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def _log_faults_only() -> None:
    """aiohttp and textual-serve write a traceback for each request that they cannot read, and each page that went."""

    def is_fault(record: logging.LogRecord) -> bool:
        from aiohttp.http_exceptions import HttpProcessingError

        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, (HttpProcessingError, ConnectionError))

    for name in ("aiohttp.server", "textual-serve"):
        logging.getLogger(name).addFilter(is_fault)


def _cells(value: Any, usual: int) -> int:
    """How wide or high a terminal is made that a page asked for."""
    try:
        return min(max(int(value), 1), _MOST_CELLS)
    except (ValueError, TypeError, OverflowError):
        return usual


async def _obey(message: str, websocket: web.WebSocketResponse, screens: AppService) -> None:
    """Hands on what a page says. Raises `ValueError` and `RecursionError` for what no page of ours says."""
    match json.loads(message):
        case ["stdin", str(typed)]:
            await screens.send_bytes(typed.encode("utf-8", "replace"))
        case ["resize", {"width": int(width), "height": int(height)}]:
            await screens.set_terminal_size(_cells(width, 80), _cells(height, 24))
        case ["ping", data]:
            await websocket.send_json(["pong", data])
        case ["blur", *_]:
            await screens.blur()
        case ["focus", *_]:
            await screens.focus()
        case _:
            raise ValueError("This is no message of the page.")


def _peer(request: web.Request) -> str:
    return request.remote or ""


def _server(command: str, access: Access, port: int) -> Server:
    import aiohttp_jinja2
    from aiohttp import WSCloseCode, WSMsgType, web
    from textual_serve.app_service import AppService
    from textual_serve.server import Server

    cookie = f"workbench-{port}"

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """For the key in the address there is a session; nothing without it, no terminal for another server's page."""
        if not access.knows_host(request.host):
            raise web.HTTPMisdirectedRequest(text="This server has another name.\n")
        known, key, peer = (
            access.knows_session(request.cookies.get(cookie, "")),
            request.query.get("key"),
            _peer(request),
        )
        if key is not None and not known and (seconds := access.seconds_to_wait(peer)):
            waits = {"Retry-After": str(seconds)}
            raise web.HTTPTooManyRequests(text=f"Too many wrong keys. Wait {seconds} seconds.\n", headers=waits)
        if key is not None and not known and access.try_key(key, peer):
            found = web.HTTPFound("/")
            found.set_cookie(cookie, access.session, httponly=True, samesite="Strict")
            return found
        if not known:
            raise web.HTTPForbidden(text="Open the address that `workbench serve` printed: it has the key.\n")
        if key is not None:
            return web.HTTPFound("/")  # and out of the address
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"{request.scheme}://{request.host}":
            raise web.HTTPForbidden(text="Only this server's own pages are served.\n")
        try:
            # Looked at when the answer is sent, where nobody catches what a date of a million years raises.
            _ = request.if_modified_since, request.if_unmodified_since, request.if_range
            answer = await handler(request)
        except (ValueError, OverflowError, OSError) as error:
            raise web.HTTPBadRequest(text="What was asked cannot be read.\n") from error
        if request.match_info.route.name == "static" and not isinstance(answer, web.FileResponse):
            raise web.HTTPNotFound  # the list of a folder
        return answer

    def expecting_nothing(
        handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """aiohttp looks at Expect before any middleware, and quotes it in its refusal, whatever bytes it has."""

        async def expecting(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Expect", "100-continue").lower() != "100-continue":
                raise web.HTTPExpectationFailed(text="That cannot be expected.\n", headers=_HEADERS)
            return await handle(request)

        return expecting

    class Guarded(Server):
        def __init__(self) -> None:
            super().__init__(command, title="Alignment Workbench", port=port)
            self.pages: set[web.WebSocketResponse] = set()

        async def _make_app(self) -> web.Application:
            app: web.Application = await super()._make_app()
            app.middlewares.append(guard)
            app._handle = expecting_nothing(app._handle)  # type: ignore[method-assign, assignment]
            app.on_response_prepare.append(_say_headers)
            return app

        async def on_startup(self, app: web.Application) -> None:
            """Says nothing: the command did."""

        async def handle_index(self, request: web.Request) -> web.Response:
            """The page as it was reached, through a forwarded port too, with nothing from elsewhere."""
            own = f"{request.scheme}://{request.host}"
            page = aiohttp_jinja2.render_string(
                "app_index.html",
                request,
                {
                    "font_size": 16,
                    "app_websocket_url": own.replace("http", "ws", 1) + "/ws",
                    "config": {"static": {"url": "/static/"}},
                    "application": {"name": self.title},
                },
            )
            policy = f"{_SOURCES}; connect-src {own.replace('http', 'ws', 1)}"
            headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
            return web.Response(text=_FROM_ELSEWHERE.sub("", page), content_type="text/html", headers=headers)

        async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
            """Screens of its own for a page, until it goes, or says what no page of ours says."""
            websocket = web.WebSocketResponse(timeout=1, heartbeat=15)  # a second to say that it goes
            await websocket.prepare(request)
            self.pages.add(websocket)

            async def close() -> None:
                await websocket.close()

            screens = AppService(
                self.command,
                write_bytes=websocket.send_bytes,
                write_str=websocket.send_str,
                close=close,
                download_manager=self.download_manager,
            )
            await screens.start(_cells(request.query.get("width"), 80), _cells(request.query.get("height"), 24))
            try:
                async for message in websocket:
                    if message.type is WSMsgType.TEXT:
                        await _obey(message.data, websocket, screens)
            except (ValueError, RecursionError):
                await websocket.close(code=WSCloseCode.POLICY_VIOLATION)
            except ConnectionError:
                pass
            finally:
                self.pages.discard(websocket)
                with suppress(ConnectionError):
                    await screens.stop()
            return websocket

        async def on_shutdown(self, _: web.Application) -> None:
            """Ends every page, which aiohttp waits a minute for."""
            await asyncio.gather(*(page.close(code=WSCloseCode.GOING_AWAY) for page in list(self.pages)))

    return Guarded()
