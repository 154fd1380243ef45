"""From the command line to a page that answers: the socket, the kernels that are compiled meanwhile, and the end."""

import errno
import socket
import sys
import threading
import webbrowser
from contextlib import suppress

import uvicorn

from minifer import warm_up
from minifer.config import PRESETS
from minifer.demo.server import Desk, make_app
from minifer.demo.worker import Worker
from minifer.errors import MiniferError, one_line
from minifer.kernels.memory import share_freed_pages

HOST = "127.0.0.1"
RECEIVED = 1 << 15  # bytes of a connection that wait to be read: a hundred at once then take little memory


def serve(viewer, port, open_page, say, alone):
    """Serve the page until Ctrl-C.

    port       0 takes any free one
    say        is called with a line that names the address
    alone      whether this process is minifer's alone: kernels may then be compiled in further processes
    Raises     MiniferError when the port cannot be used
    """
    # The thread that serves gives Python's lock away with every byte that comes or goes, and waits for the thread that
    # computes to hand it back: half a millisecond each time instead of five.
    sys.setswitchinterval(0.0005)
    share_freed_pages()
    with listening(port) as listener, Worker() as worker:
        desk = Desk(viewer, worker)
        threading.Thread(target=make_ready, args=(desk, alone), name="minifer warm-up", daemon=True).start()
        address = f"http://{HOST}:{listener.getsockname()[1]}/"
        say(f"minifer demo: {address} (Ctrl-C ends it)")
        if open_page:
            webbrowser.open(address)
        settings = uvicorn.Config(
            make_app(desk), log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        with suppress(KeyboardInterrupt):  # which uvicorn raises again once it has closed everything
            uvicorn.Server(settings).run(sockets=[listener])
        say("minifer demo: ended")


def listening(port):
    """Return a socket that listens on this computer's own address.

    Raises     MiniferError when the port is in use, or not for this user
    """
    try:
        listener = socket.create_server((HOST, port))
        # Inherited by every connection. Without it the kernel holds the body of an answer back for 40 ms, until the
        # browser has acknowledged its headers; asyncio sets it only on sockets that it has made itself.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED)
        return listener
    except (OSError, OverflowError) as error:
        reason = "is in use" if getattr(error, "errno", 0) == errno.EADDRINUSE else f"cannot be used ({error})"
        raise MiniferError(
            f"port {port} {reason}: choose another one with --port, or any free one with --port 0"
        ) from None


def make_ready(desk, alone):
    """Compile what faces and panels need, first on every core if that may be, and tell the desk of each."""
    parts = (
        ("faces", lambda: warm_up.for_faces("mha"), desk.viewer.try_faces),
        ("panels", lambda: warm_up.for_training(PRESETS["demo"]), desk.viewer.try_panels),
    )
    for part, warming, attempt in parts:
        if alone:
            warming().wait()
        error = desk.worker.submit(attempt).exception()
        if error is not None and part == "faces":
            desk.failed = f"the network cannot be used: {one_line(str(error))}"
            return
        desk.ready.add(part)  # a panel that cannot be shown says why when it is asked for
