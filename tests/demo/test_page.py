"""The page in a headless Chromium, with a file for its camera: what a class sees. Nothing leaves the computer."""

import threading
import time

import numpy as np
import pytest
from browser import CHROMIUM, camera_file, encoded, needs_chromium

from minifer.cost import count
from minifer.cost.blocks import SeparableBlock
from minifer.models import mobilenet
from minifer.models.mobilenet import BLOCKS, STEM_FILTERS

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn, which serves the page, is not installed")
pytestmark = needs_chromium


@pytest.fixture(scope="module")
def address(viewer, worker):
    from minifer.demo.serve import listening
    from minifer.demo.server import Desk, make_app

    desk = Desk(viewer, worker)
    desk.ready = {"faces", "panels"}
    listener = listening(0)
    running = uvicorn.Server(uvicorn.Config(make_app(desk), log_level="critical", lifespan="off"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    running.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def browser(photo, tmp_path_factory):
    camera = camera_file(
        tmp_path_factory.mktemp("camera") / "camera.mjpeg", [np.roll(photo, 3 * k, axis=1) for k in range(6)]
    )
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """The page, ready; at the end nothing was asked of other computers, and nothing went wrong in a script."""
    context = browser.new_context(permissions=["camera"])
    page = context.new_page()
    requests, errors, at_once = [], [], [0, 0]

    def asked(request):
        requests.append(request.url)
        if request.resource_type == "fetch":
            at_once[0] += 1
            at_once[1] = max(at_once)

    def answered(request):
        at_once[0] -= request.resource_type == "fetch"

    page.on("request", asked)
    page.on("requestfinished", answered)
    page.on("requestfailed", answered)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto(address)
    until(page, "document.getElementById('network').length === 2 && !document.getElementById('notice').textContent")
    yield page
    context.close()
    assert not [url for url in requests if not url.startswith(address)]
    assert not [error for error in errors if "503" not in error]  # of a busy server, which is asked again
    assert at_once[1] == 1  # a question waits for the answer to the last one


def until(page, condition, seconds=30):
    """Wait for a condition in the page. (Playwright's own wait_for_function is forbidden by the page's policy.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < end, f"in vain: {condition}"
        page.wait_for_timeout(50)


def choose(page, photo):
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": encoded(photo, "PNG")})
    page.wait_for_selector("#faces label")


def coloured(page, canvas):
    """How many different pixels a canvas has."""
    script = """(id) => { const c = document.getElementById(id);
        return new Set(new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size }"""
    return page.evaluate(script, canvas)


def test_the_camera(page):
    page.click("#camera")
    page.wait_for_selector("#faces label")
    until(page, "performance.getEntriesByType('resource').filter((r) => r.name.includes('camera=')).length > 12")
    assert page.inner_text("#faces label") == "Face 1: happy"
    assert page.evaluate("document.querySelector('#bars .first i').style.width") > "5"
    until(page, "document.querySelector('#spoken').innerText.includes('1 face')")  # it speaks at its own pace
    assert "1 face" in page.get_attribute("#picture", "aria-label")
    yellow = """() => { const c = document.getElementById("picture");
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        let n = 0;
        for (let i = 0; i < d.length; i += 4) n += d[i] > 250 && Math.abs(d[i + 1] - 212) < 4 && d[i + 2] < 8;
        return n }"""
    assert page.evaluate(yellow) > 500  # the box, its label and the landmarks
    page.click("#camera")
    assert page.inner_text("#camera") == "Start the camera"


def test_a_camera_that_ends_by_itself(page):
    """It was unplugged: no further picture ever comes."""
    page.click("#camera")
    page.wait_for_selector("#faces label")
    page.evaluate("document.getElementById('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
    assert page.inner_text("#camera") == "Start the camera" and "has ended" in page.inner_text("#notice")


def test_a_picture_without_a_face_shows_nothing_of_the_last_one(page, photo):
    assert not page.is_visible("#seen")
    choose(page, photo)
    until(page, "document.getElementById('maps-caption').textContent")
    assert page.is_visible("#seen") and page.is_visible("#maps-all")
    page.set_input_files("#file", {"name": "b.png", "mimeType": "image/png", "buffer": encoded(0 * photo, "PNG")})
    until(page, "document.getElementById('maps-message').textContent")
    assert not page.is_visible("#seen") and not page.is_visible("#maps-all")
    until(page, "document.getElementById('spoken').textContent === 'no faces.'")  # also said within its pause


def test_a_server_that_is_busy_is_asked_again(page, photo):
    refusals = [{"status": 503, "headers": {"Retry-After": "0.1"}, "json": {"error": "busy: come again"}}] * 2
    page.route("**/faces?*", lambda route: route.fulfill(**refusals.pop()) if refusals else route.fallback())
    choose(page, photo)
    assert not refusals and not page.inner_text("#notice")


def test_another_network_while_a_picture_is_looked_at(page, photo):
    with page.expect_request("**/faces?*"):
        page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": encoded(photo, "PNG")})
    page.select_option("#network", index=1)
    page.wait_for_selector("#faces label")


def test_a_picture_and_the_tabs_by_keyboard(page, photo, viewer):
    choose(page, photo)
    page.focus("#tab-maps")
    shown = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"):
        page.keyboard.press(key)
        shown.append(page.evaluate("document.activeElement.id").replace("tab-", ""))
        assert page.is_visible(f"#panel-{shown[-1]}") and page.locator('[role="tabpanel"]:visible').count() == 1
    assert shown == ["attention", "saliency", "cost", "toy", "maps", "toy", "maps", "toy"]
    page.keyboard.press("Home")
    until(page, "document.getElementById('maps-caption').textContent")
    assert coloured(page, "maps-all") > 100 and coloured(page, "seen") > 20
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # the panel itself, and its first field
    assert page.evaluate("document.activeElement.id") == "maps-layer"
    before = page.inner_text("#maps-caption")
    page.focus("#maps-number")
    page.keyboard.press("ArrowRight")
    maps = viewer.networks["best"].model["stem"].weight.value.shape[-1]
    assert page.inner_text("#maps-caption") != before and page.inner_text("#maps-now") == f"2 of {maps}"
    page.click("#tab-saliency")
    until(page, "document.getElementById('saliency-caption').textContent.includes('happy')")
    assert coloured(page, "saliency-map") > 100


def test_a_network_with_attention_and_one_without(page, photo):
    choose(page, photo)
    page.click("#tab-attention")
    assert "no attention layer" in page.inner_text("#panel-attention")
    page.select_option("#network", index=1)
    page.wait_for_selector("#attention-heads figure")
    assert page.locator("#attention-heads figure").count() == 2
    caption = page.inner_text("#attention-heads figure:first-child figcaption")
    assert "head 1" in caption and "row" in caption


def test_cost_of_each_layer(page, viewer):
    page.click("#tab-cost")
    until(page, "document.querySelectorAll('#cost-blocks tbody tr').length === 10")
    cells = page.locator("#cost-blocks tbody tr:first-child td").all_inner_texts()
    block = viewer.cost("best")["blocks"][0]
    assert [float(cell) for cell in cells[:3]] == pytest.approx(
        [block["standard_multiply_adds"] / 1e6, block["multiply_adds"] / 1e6, 1 / block["ratio"]], rel=0.01
    )
    assert page.locator("#cost-parts tbody tr").count() == len(viewer.networks["best"].model.layers) - 1


def test_the_formulas_are_those_of_minifer_cost(page):
    script = """async ([alpha, side, kernel, table]) => {
        const { network, block } = await import("/formulas.js");
        return [network(table, alpha, side, kernel), block(49, kernel, 10, 24)];
    }"""
    table = {"stem": STEM_FILTERS, "blocks": BLOCKS}
    for alpha, side, kernel in ((1, 48, 3), (0.25, 47, 3), (1.75, 224, 3), (0.5, 96, 5)):
        found, block = page.evaluate(script, [alpha, side, kernel, table])
        if kernel == 3:
            shape = (side, side, 1)
            expected = count(mobilenet("plain", alpha, shape, outline=True), shape)
            assert found["separable"] == expected.multiply_adds
        ours = SeparableBlock("", 49, kernel, 10, 24)
        assert (block["separable"], block["ordinary"]) == (ours.multiply_adds, ours.standard_multiply_adds)
        assert block["ratio"] == pytest.approx(ours.predicted_ratio) == pytest.approx(ours.ratio)
    page.click("#tab-toy")
    page.select_option("#toy-block", "1")
    page.fill("#toy-kernel", "5")
    ours = SeparableBlock("", 12 * 12, 5, 64, 128)
    text = page.inner_text("#toy-formulas")
    assert f"{ours.multiply_adds:,}" in text and f"{ours.standard_multiply_adds:,}" in text
    assert page.inner_text("#toy-ratio") == f"{ours.ratio:.4f}"
    assert page.inner_text("#toy-spoken").startswith(f"{ours.multiply_adds:,} multiply-adds")


def test_every_control_has_a_name(page):
    nameless = """() => {
        const controls = "button, select, input:not([hidden]), canvas, [role=tabpanel], img, table";
        const named = (one) => one.labels?.length || one.textContent.trim() || one.ariaLabel || one.caption
            || one.alt === "" || one.getAttribute("aria-labelledby");
        return [...document.querySelectorAll(controls)].filter((one) => !named(one)).map((one) => one.outerHTML);
    }"""
    assert page.evaluate(nameless) == []
