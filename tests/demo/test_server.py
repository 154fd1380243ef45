"""What the server lets in, and how it refuses the rest."""

import asyncio
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from browser import encoded

pytest.importorskip("starlette", reason="starlette, which serves the page, is not installed")
pytest.importorskip("httpx2", reason="httpx2, with which starlette's TestClient asks, is not installed")

from starlette.testclient import TestClient

from minifer.demo import server
from minifer.demo.server import Desk, make_app

PAGE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def desk(viewer, worker):
    desk = Desk(viewer, worker)
    desk.ready = {"faces", "panels"}
    return desk


@pytest.fixture(scope="module")
def client(desk):
    with TestClient(make_app(desk), base_url=PAGE) as client:
        yield client


def test_the_way_of_a_picture(client, photo_png):
    state = client.get("/state").json()
    assert state["faces"] and state["panels"] and state["networks"][0]["name"] == "best"
    (face,) = client.post("/faces", params={"min_size": 80, "camera": "a"}, content=photo_png).json()["faces"]
    assert max(face["probabilities"], key=face["probabilities"].get) == "happy" and len(face["landmarks"]) == 68
    about = {"network": "best", "face": face["key"]}
    assert client.get("/seen", params=about).json()["shape"] == state["networks"][0]["input"]
    (block,) = (shown["shape"] for shown in state["networks"][0]["maps"] if shown["name"] == "block1")
    assert client.get("/maps", params={**about, "layer": "block1"}).json()["shape"] == [block[2], *block[:2]]
    assert client.get("/saliency", params={**about, "label": 2}).json()["label"] == 2
    assert client.get("/cost", params={"network": "best"}).json()["rows"]
    assert client.get("/attention", params={**about, "layer": "x", "row": 0, "column": 0}).status_code == 422


BOMB = encoded(np.zeros((5000, 10000), np.uint8), "PNG")
NOISE = np.random.default_rng(0).bytes(10 << 20)


@pytest.mark.parametrize(
    "status, body, what",
    [
        (422, BOMB, "megapixels"),
        (413, NOISE, "4 MB"),
        (413, (NOISE[start : start + 65536] for start in range(0, len(NOISE), 65536)), "4 MB"),  # of untold length
        (422, NOISE[: 3 << 20], "not a picture"),
        (422, b"", "not a picture"),
        (422, "cut", "truncated"),
    ],
    ids=["bomb", "noise", "chunks", "less noise", "nothing", "cut"],
)
def test_hostile_pictures(client, photo, status, body, what):
    if isinstance(body, str):
        body = encoded(photo, "JPEG")[:20000]
    answer = client.post("/faces", content=body)
    assert answer.status_code == status and what in answer.json()["error"]
    assert client.get("/state").status_code == 200


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:8000"}, 403),
        ({"Host": "[bad"}, 403),
        ({"Host": "localhost:9000"}, 200),  # a tunnel
        ({"Host": "[::1]:8000"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://127.0.0.1:8000"}, 403),
        ({"Origin": PAGE}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
    ids=str,
)
def test_only_the_page_itself_may_ask(client, photo_png, headers, status):
    assert client.post("/faces", params={"min_size": 80}, content=photo_png, headers=headers).status_code == status
    assert client.get("/state", headers=headers).status_code == status


@pytest.mark.parametrize(
    "address, status",
    [
        ("/faces", 404), ("/nothing", 404), ("/../server.py", 404), ("/%2e%2e/server.py", 404),
        ("/seen?face=-1", 400), ("/seen?face=1e3", 400), ("/seen?face=%C2%B2", 400), ("/seen", 400),
        ("/seen?face=99999999", 422), ("/seen?face=1&network=none", 404), ("/cost?network=", 404),
        ("/maps?face=0&layer=block1", 422), ("/saliency?face=1&label=x", 400),
    ],
)  # fmt: skip
def test_wrong_questions(client, address, status):
    assert client.get(address).status_code == status


def test_min_size_has_bounds(client, photo_png):
    for size in (1, 23, 401, 10**30):
        assert client.post("/faces", params={"min_size": size}, content=photo_png).status_code == 400


def test_the_page_brings_everything_along(client):
    names = [path.name for path in server.PAGE.iterdir()]
    texts = {name: client.get(f"/{name}").text for name in names}
    for name, text in texts.items():
        outside = set(re.findall(r"""https?://[^\s"'`)<]+""", text)) - {
            "http://www.w3.org/2000/svg",
            "http://localhost.",
        }
        assert not outside, f"{name} names {outside}"
    html = client.get("/")
    assert "default-src 'self'" in html.headers["content-security-policy"]
    assert "unsafe" not in html.headers["content-security-policy"]
    assert html.headers["x-content-type-options"] == "nosniff" and html.text == texts["index.html"]
    assert not re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", "".join(texts.values()))
    assert "javascript" in client.get("/page.js").headers["content-type"]
    for name in re.findall(r'from "\./([\w.]+)"|(?:href|src)="([\w.]+)"', "".join(texts.values())):
        assert "".join(name) in names


def test_kernels_that_are_being_compiled(viewer, worker, photo_png):
    desk = Desk(viewer, worker)
    with TestClient(make_app(desk), base_url=PAGE) as client:
        assert not client.get("/state").json()["faces"]
        answer = client.post("/faces", content=photo_png)
        assert answer.status_code == 503 and "compiled" in answer.json()["error"] and answer.headers["retry-after"]
        desk.failed = "broken"
        assert client.get("/state").json()["failed"] == "broken"
        answer = client.post("/faces", content=photo_png)
        assert answer.status_code == 500 and "retry-after" not in answer.headers  # to come again would not help


def test_a_hundred_posts_at_once(viewer, worker, photo_png):
    """Over real sockets: as many as fit are answered, the others are told to come again while the page is served."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn, which serves the page, is not installed")
    from minifer.demo.serve import listening

    desk, free = Desk(viewer, worker), threading.Event()
    desk.ready = {"faces", "panels"}
    desk.worker.submit(free.wait)  # the thread that computes is busy
    listener = listening(0)
    port = listener.getsockname()[1]
    running = uvicorn.Server(uvicorn.Config(make_app(desk), log_level="critical", lifespan="off"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()

    async def ask(head, body=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        length = f"Host: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(f"{head} HTTP/1.1\r\n{length}".encode() + body)
        answer = await reader.read()
        writer.close()
        return int(answer[9:12])

    async def flood():
        posts = [asyncio.create_task(ask("POST /faces?min_size=80", photo_png)) for _ in range(100)]
        while sum(post.done() for post in posts) < 100 - server.WAITING:
            await asyncio.sleep(0.01)
        page = await ask("GET /")
        waiting = sum(not post.done() for post in posts)
        free.set()
        return page, waiting, await asyncio.gather(*posts)

    try:
        page, waiting, statuses = asyncio.run(asyncio.wait_for(flood(), 60))
    finally:
        free.set()
        running.should_exit = True
        thread.join(10)
    assert page == 200 and waiting == server.WAITING
    assert sorted(statuses) == [200] * server.WAITING + [503] * (100 - server.WAITING)


def test_a_picture_that_never_ends(client, desk, monkeypatch):
    monkeypatch.setattr(server, "SECONDS", 0.05)
    sent = []

    async def receive():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message):
        sent.append(message)

    monkeypatch.setattr("minifer.demo.guard.SECONDS", 0.05)
    scope = {
        "type": "http", "method": "POST", "path": "/faces", "raw_path": b"/faces", "query_string": b"",
        "scheme": "http", "headers": [(b"host", b"localhost")], "server": ("localhost", 80), "root_path": "",
    }  # fmt: skip
    asyncio.run(make_app(desk)(scope, receive, send))
    assert sent[0]["status"] == 408 and desk.inside == 0


def test_files_of_the_page_are_small():
    assert sum(path.stat().st_size for path in Path(server.PAGE).iterdir()) < 100_000
