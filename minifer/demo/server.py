"""The addresses of the page, and their answers: JSON, or {"error": one line} with a status of 4xx or 503.

    GET  /state                                      what is ready, and the networks to choose from
    POST /faces?network=&min_size=&camera=           the faces in the picture that is the body
    GET  /seen?network=&face=                        what the network reads of a face
    GET  /maps?network=&face=&layer=                 feature maps
    GET  /attention?network=&face=&layer=&row=&column=
    GET  /saliency?network=&face=&label=
    GET  /cost?network=&again=                       multiply-adds and milliseconds of each layer

At most WAITING requests that compute are let in; the next is told to come again, before its picture is read.
"""

import asyncio
import mimetypes
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from minifer.demo.guard import Guard
from minifer.demo.viewer import LARGEST, SMALLEST
from minifer.errors import MiniferError, one_line
from minifer.models.mobilenet import BLOCKS, STEM_FILTERS

PAGE = Path(__file__).parent / "page"
MOST_BYTES = 4 << 20  # of a picture
WAITING = 4  # requests that may wait for the one thread that computes, each with its picture in memory
SECONDS = 5  # within which a picture must have arrived
TABLE = {"stem": STEM_FILTERS, "blocks": BLOCKS}  # of the toy that plays with the cost of a whole network


class Refused(Exception):
    """A request that is answered with a status and one line."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status, self.reason = status, reason


class Desk:
    """Hands requests to the viewer by way of the worker, as many as fit."""

    def __init__(self, viewer, worker):
        self.viewer, self.worker, self.inside = viewer, worker, 0
        self.ready, self.failed = set(), None  # of "faces" and "panels"; what went wrong while they were made ready
        self.networks = viewer.describe()

    async def state(self, request):
        """Say what is ready, and what there is to choose from."""
        limits = {"min_size": self.viewer.min_size, "smallest": SMALLEST, "largest": LARGEST}
        ready = {part: part in self.ready for part in ("faces", "panels")}
        return JSONResponse({**ready, "failed": self.failed, "networks": self.networks, **limits, "table": TABLE})

    async def faces(self, request):
        """Find the faces in the picture that is posted."""
        network = self.network(request)
        size = number(request, "min_size", self.viewer.min_size, SMALLEST, LARGEST)
        camera = request.query_params.get("camera", "")[:40]
        return await self.answer(request, "faces", self.viewer.faces, network, size, camera, picture=True)

    async def seen(self, request):
        """Show what the network reads of a face."""
        return await self.answer(request, "faces", self.viewer.seen, *self.face(request))

    async def maps(self, request):
        """Show feature maps."""
        layer = request.query_params.get("layer", "")
        return await self.answer(request, "panels", self.viewer.maps, *self.face(request), layer)

    async def attention(self, request):
        """Show what attention takes from where."""
        layer, place = request.query_params.get("layer", ""), (number(request, name) for name in ("row", "column"))
        return await self.answer(request, "panels", self.viewer.attention, *self.face(request), layer, *place)

    async def saliency(self, request):
        """Show which pixels move the logit of a class."""
        label = number(request, "label") if "label" in request.query_params else None
        return await self.answer(request, "panels", self.viewer.saliency, *self.face(request), label)

    async def cost(self, request):
        """Show what each layer costs."""
        again = "again" in request.query_params
        return await self.answer(request, "panels", self.viewer.cost, self.network(request), again)

    def network(self, request):
        """Return the name of the network that a request is about."""
        name = request.query_params.get("network", next(iter(self.viewer.networks)))
        if name not in self.viewer.networks:
            raise Refused(404, f"no network {name!r}: there are {', '.join(self.viewer.networks)}")
        return name

    def face(self, request):
        """Return network and key of the face that a request is about."""
        return self.network(request), number(request, "face")

    async def answer(self, request, part, function, *arguments, picture=False):
        """Return the answer of a function of the viewer, computed by the worker.

        picture    True: the body of the request is its first argument
        Raises     Refused when there are too many already, kernels are being compiled, or cannot be
        """
        if self.failed:
            raise Refused(500, self.failed)
        if part not in self.ready:
            raise Refused(503, "kernels are being compiled: this can take a minute")
        if self.inside >= WAITING:
            raise Refused(503, "busy: come again")
        self.inside += 1
        try:
            if picture:
                arguments = (await body(request), *arguments)
            return JSONResponse(await asyncio.wrap_future(self.worker.submit(function, *arguments)))
        except MiniferError as error:
            raise Refused(422, str(error)) from error
        except Refused:
            raise
        except Exception as error:  # of a layer of one's own
            raise Refused(500, one_line(f"{type(error).__name__}: {error}")) from error
        finally:
            self.inside -= 1


def number(request, name, default=None, least=0, most=2**53):
    """Return a whole number among the parameters of a request."""
    text = request.query_params.get(name, "" if default is None else str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 17 and least <= int(text) <= most):
        raise Refused(400, f"{name} is {text[:20]!r}: a whole number from {least} to {most} is needed")
    return int(text)


async def body(request):
    """Return the bytes that a request brings, of which no more than MOST_BYTES are ever kept."""
    too_large = Refused(413, f"the picture has more than {MOST_BYTES >> 20} MB: make it smaller first")
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MOST_BYTES:
        raise too_large
    data = bytearray()
    try:
        with anyio.fail_after(SECONDS):
            async for chunk in request.stream():
                data += chunk
                if len(data) > MOST_BYTES:
                    raise too_large
    except TimeoutError:
        raise Refused(408, f"the picture did not arrive within {SECONDS} seconds") from None
    except ClientDisconnect:
        raise Refused(400, "the picture was cut off") from None
    return bytes(data)


def refused(request, error):
    """Return the answer to a request that was refused."""
    return JSONResponse({"error": error.reason}, error.status, {"Retry-After": "1"} if error.status == 503 else {})


def make_app(desk):
    """Return the ASGI application of the page."""
    mimetypes.add_type("text/javascript", ".js")  # Windows may think otherwise, and browsers then refuse scripts
    routes = [
        Route(f"/{action.__name__}", action, methods=["POST" if action == desk.faces else "GET"])
        for action in (desk.state, desk.faces, desk.seen, desk.maps, desk.attention, desk.saliency, desk.cost)
    ]
    routes.append(Mount("/", StaticFiles(directory=PAGE, html=True)))
    return Starlette(routes=routes, middleware=[Middleware(Guard)], exception_handlers={Refused: refused})
