"""How many pictures a second does `minifer demo` show, and where does the time of one go?

    python benchmarks/demo.py [--seconds 10] [--min-size 80] [--chromium /usr/bin/chromium] [--json]

A headless Chromium opens the page and takes a file for its camera: scikit-image's astronaut, moved about in 640 x 480
pixels. The browser computes on the same cores as the server, and without a graphics card it computes more than usual.
It needs playwright and Chromium.
"""

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from timing import figure, report, start

WIDTH, HEIGHT, FRAMES = 640, 480, 60
AIM = 12  # pictures a second
# In the page: the times of the answers to pictures, and how long a picture takes to be packed as JPEG there.
ANSWERS = """performance.getEntriesByType("resource").filter((one) => one.name.includes("/faces?"))
    .map((one) => [one.startTime, one.responseEnd])"""
PACKING = """async () => {
    const { jpeg } = await import("/source.js");
    const started = performance.now();
    let size = 0;
    for (let i = 0; i < 20; i++) size = (await jpeg(document.getElementById("picture"), 0.85)).size;
    return [(performance.now() - started) / 20, size];
}"""


def write_camera(path):
    """Write what Chromium takes for a camera: JPEGs one after another."""
    from skimage import data

    face = np.asarray(Image.fromarray(data.astronaut()).resize((WIDTH, WIDTH)))
    with open(path, "wb") as file:
        for number in range(FRAMES):
            top = round(40 * (1 - np.cos(2 * np.pi * number / FRAMES)))
            frame = io.BytesIO()
            Image.fromarray(face[top : top + HEIGHT]).save(frame, "JPEG", quality=90)
            file.write(frame.getvalue())


def measure(address, chromium, camera, seconds):
    """Return (answers in the page as [start, end] in ms, what the server said of each, ms and bytes of a JPEG)."""
    from playwright.sync_api import sync_playwright

    said = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"],
        )
        context = browser.new_context(permissions=["camera"], viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#notice:empty", state="attached", timeout=120_000)
        page.click("#tab-toy")  # no panel that asks the server meanwhile
        page.click("#camera")
        page.wait_for_selector("#faces label", timeout=60_000)
        page.wait_for_timeout(1000)
        page.evaluate("performance.clearResourceTimings(), performance.setResourceTimingBufferSize(10000)")
        page.wait_for_timeout(1000 * seconds)
        answers = page.evaluate(ANSWERS)
        with page.expect_response(lambda one: "/faces?" in one.url) as last:
            pass
        said.append(last.value.json()["ms"])
        for _ in range(9):
            with page.expect_response(lambda one: "/faces?" in one.url) as last:
                pass
            said.append(last.value.json()["ms"])
        page.click("#camera")
        packing = page.evaluate(PACKING)
        browser.close()
    return answers, said, packing


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--min-size", type=int, default=80)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    args = start(parser)
    command = [sys.executable, "-m", "minifer", "demo", "--port", "0", "--min-size", str(args.min_size)]
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(args.threads)}
    with tempfile.TemporaryDirectory() as folder:
        write_camera(camera := Path(folder) / "camera.mjpeg")
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            address = server.stdout.readline().split()[2]
            answers, said, (packing, size) = measure(address, args.chromium, camera, args.seconds)
        finally:
            server.terminate()
            server.wait()
    starts, ends = zip(*answers, strict=True)
    rate = (len(ends) - 1) / (ends[-1] - ends[0]) * 1000
    trips = [end - begin for begin, end in answers]
    rows = [figure("pictures a second", rate, AIM, "aim", "1/s", less=False)]
    rows.append(figure("round trip: post, answer", statistics.median(trips), None, None, "ms"))
    for part in said[0]:
        rows.append(figure(f"  server: {part}", statistics.median(one[part] for one in said), None, None, "ms"))
    gaps = [later - earlier for earlier, later in zip(ends, starts[1:], strict=False)]
    rows.append(figure("between trips: draw, next frame, pack", statistics.median(gaps), None, None, "ms"))
    rows.append(figure("  of which packing as JPEG", packing, None, None, "ms"))
    report(rows, args.threads, args.json, jpeg_bytes=size, pictures=len(answers))


if __name__ == "__main__":
    main()
