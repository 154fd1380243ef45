"""Who may ask, and how much: what stands between the network and the server's addresses.

A page from elsewhere, open in the same browser, can send requests to this computer. What it must not do is read what
the camera sees (DNS rebinding: its own name suddenly means this computer) or keep the network busy (posts from its
scripts or forms). Both are told by the headers that a browser sets and a script cannot change.
"""

from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

NAMES = {"localhost", "127.0.0.1", "::1"}  # whatever the port: a tunnel may have another one
MOST_READ_AWAY, SECONDS = 32 << 20, 2  # bytes of a refused request, and the time that they may take
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self)",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses requests that no page of this server makes, and gives every answer the HEADERS."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = Body(receive)

        async def with_headers(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
                if message["status"] >= 400:
                    await body.read_away()
            await send(message)

        reason = refusal(scope["method"], scope["path"], Headers(scope=scope))
        app = JSONResponse({"error": reason}, 403) if reason else self.app
        await app(scope, body, with_headers)


class Body:
    """What a request brings. If it is refused, the rest is read and forgotten, else its sender would get no answer.

    (A socket that is closed while something is still to be read tells the other side that the connection broke.)
    """

    def __init__(self, receive):
        self.receive, self.whole = receive, False

    async def __call__(self):
        """Return the next message, as ASGI has it."""
        message = await self.receive()
        self.whole = not message.get("more_body", False)
        return message

    async def read_away(self):
        """Read what is left, but neither more nor longer than a sender in good faith needs."""
        left = MOST_READ_AWAY
        with anyio.move_on_after(SECONDS):
            while not self.whole and left > 0:
                left -= len((await self()).get("body", b""))


def refusal(method, path, headers):
    """Return why a request is refused, or None."""
    host = headers.get("host", "")
    if hostname(f"//{host}") not in NAMES:
        return "this page is for this computer only: open it as http://127.0.0.1"
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return "only the page of minifer demo itself may ask"
    opens_page = method == "GET" and path == "/"
    if not opens_page and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return "only the page of minifer demo itself may ask"
    return None


def hostname(address):
    """Return the name of the computer in an address, "" where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
