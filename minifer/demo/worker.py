"""The one thread that computes: whoever asks gets an answer later, and the server goes on serving meanwhile.

It is always the same thread, since OpenMP keeps a team of threads for each one that starts kernels. It is a daemon, so
that Ctrl-C need not wait for a kernel that is being compiled.
"""

import queue
import threading
from concurrent.futures import Future


class Worker:
    """Carries out one piece of work after another, until the end of a with statement."""

    def __init__(self):
        self._work = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="minifer demo", daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._work.put(None)

    def submit(self, function, *arguments):
        """Return the Future of function(*arguments)."""
        future = Future()
        self._work.put((future, function, arguments))
        return future

    def _run(self):
        while (work := self._work.get()) is not None:
            future, function, arguments = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # whatever it is, it is for who asked
                future.set_exception(error)
