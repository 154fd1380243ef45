"""`minifer demo` from the command line."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from small_runs import run


def test_without_the_extra_one_line_names_it(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "minifer.demo.serve", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, out, err = run(capsys, "demo")
    assert code == 1 and out == "" and "pip install 'minifer[demo]'" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "flags",
    [
        ["--port", "70000"], ["--min-size", "5"], ["--threshold", "2"], ["--model", "own.py:network"],
        ["--weights", "bets"], ["--port", "x"],
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(capsys, flags):
    pytest.importorskip("uvicorn", reason="uvicorn, which serves the page, is not installed")
    code, out, err = run(capsys, "demo", *flags)
    assert code == 2 and out == "" and err.count("\n") == 1


def test_a_port_in_use_is_one_line(capsys):
    pytest.importorskip("uvicorn", reason="uvicorn, which serves the page, is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = run(capsys, "demo", "--port", port)
    assert code == 1 and out == "" and str(port) in err and "--port" in err and err.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="signals of another system")
def test_ctrl_c_ends_it_cleanly():
    pytest.importorskip("uvicorn", reason="uvicorn, which serves the page, is not installed")
    command = [sys.executable, "-m", "minifer", "demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        address = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())[0]
        with urllib.request.urlopen(address) as page:
            assert b"minifer demo" in page.read()
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=30)
    assert server.returncode == 0 and "Traceback" not in err and "ended" in out
