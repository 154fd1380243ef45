"""The one thread that computes: whoever asks gets an answer later, and the server goes on serving meanwhile.

It is always the same thread, since OpenMP keeps a team of threads for each one that starts kernels. It is a daemon, so
that Ctrl-C need not wait for a kernel that is being compiled.
"""

import queue
import threading
from concurrent.futures import Future


class Worker:
    """Carries out one piece of work after another."""

    def __init__(self):
        self._work = queue.SimpleQueue()
        threading.Thread(target=self._run, name="minifer demo", daemon=True).start()

    def submit(self, function, *arguments):
        """Return the Future of function(*arguments)."""
        future = Future()
        self._work.put((future, function, arguments))
        return future

    def _run(self):
        while True:
            future, function, arguments = self._work.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # whatever it is, it is for who asked
                future.set_exception(error)
