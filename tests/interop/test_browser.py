"""The network that ships, in a browser: onnxruntime-web in a headless Chromium says what minifer says.

It needs Chromium and the package onnxruntime-web: `npm install onnxruntime-web` in the checkout, or its folder dist in
the variable ORT_WEB.
"""

import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, needs_chromium

from minifer.data import synthetic
from minifer.evaluation import predict
from minifer.trained import find_weights, load_weights

pytest.importorskip("onnx", reason="onnx, which writes the file, is not installed")

PAGE = Path(__file__).parent / "files" / "browser.html"
WEB = Path(os.environ.get("ORT_WEB", Path(__file__).parents[2] / "node_modules" / "onnxruntime-web" / "dist"))
KINDS = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}


class Pages(BaseHTTPRequestHandler):
    """Hands out the page, what it runs, and what it reads; takes its result."""

    def do_GET(self):
        name = self.path.lstrip("/") or "browser.html"
        for folder in (self.server.folder, PAGE.parent, WEB):
            if (folder / name).is_file() and "/" not in name:
                content = (folder / name).read_bytes()
                self.send_response(200)
                self.send_header("Content-Type", KINDS.get(Path(name).suffix, "application/octet-stream"))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                return
        self.send_error(404)

    def do_POST(self):
        self.server.result = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.came.set()

    def log_message(self, *_):
        """Say nothing."""


@needs_chromium
@pytest.mark.skipif(not (WEB / "ort.wasm.min.js").exists(), reason=f"onnxruntime-web is not in {WEB}")
def test_probabilities_in_a_browser(tmp_path):
    from minifer.interop.onnx import export_onnx

    model, _ = load_weights(find_weights("best"))
    export_onnx(tmp_path / "network.onnx", model, (48, 48, 1))
    pictures = synthetic.generate(5, seed=2).images
    (tmp_path / "pictures.bin").write_bytes(pictures.tobytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.folder, server.result, server.came = tmp_path, None, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        f"http://127.0.0.1:{server.server_port}/",
    ]  # fmt: skip
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert server.came.wait(90), "the page sent nothing"
    finally:
        browser.terminate()
        browser.wait(10)
        server.shutdown()
        server.server_close()
    assert "error" not in server.result, server.result
    found = np.reshape(server.result["data"], server.result["dims"])
    assert np.abs(found - predict(model, pictures)).max() < 1e-4
