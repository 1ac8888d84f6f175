"""The page that runs a `.tflite` in a browser: the camera's boxes are Python's, and no network."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import threading
import urllib.request
from functools import partial
from http.server import ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from browser import CHROMIUM, browser
from tfod.detection.detector import Detector
from tfod.detection.tflite_input import TFLiteInput
from tfod.errors import UserError
from tfod.export.tflite_metadata import pack_tflite
from tfod.live import site as live

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def mediapipe():
    try:
        return live.fetch_mediapipe()
    except UserError as error:
        pytest.skip(f"needs npm's registry: {error}")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A `.tflite` that finds what is bright: a camera's colours are never quite the file's."""
    import tensorflow as tf

    @tf.function
    def detect(image):
        bright = tf.cast(tf.reduce_min(image, axis=3) > 0, tf.float32)
        low, high = [], []
        for axis in (2, 1):  # rows, then columns
            there = tf.reduce_max(bright, axis=axis)
            at = tf.range(96, dtype=tf.float32)
            low.append(1 - tf.reduce_max(there * (96 - at), axis=1) / 96)
            high.append(tf.reduce_max(there * (at + 1), axis=1) / 96)
        found = tf.reduce_max(bright, axis=(1, 2))
        return {
            "detection_boxes": tf.reshape(tf.stack([*low, *high], axis=1), [1, 1, 4]),
            "detection_scores": 0.9 * found[None],
            "detection_classes": found[None],
            "num_detections": found,
        }

    spec = tf.TensorSpec([1, 96, 96, 3], tf.float32, name="image")
    folder = tmp_path_factory.mktemp("bright")
    module = tf.Module()
    tf.saved_model.save(module, str(folder), signatures=detect.get_concrete_function(spec))
    network = tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert()
    given = TFLiteInput(96, 96, (1 / 127.5,) * 3, (-1.0,) * 3)
    path = folder / "model.tflite"
    path.write_bytes(pack_tflite(network, given, {1: "dark", 2: "bright thing"}, 0.4))
    return path


@pytest.fixture(scope="module")
def site(model, mediapipe, tmp_path_factory):
    return live.write_site(model, tmp_path_factory.mktemp("live") / "site", mediapipe)


@pytest.fixture
def server(site):
    handler = partial(live._Handler, directory=str(site))
    with ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A bright sign as PNG, and as the JPEGs that Chromium takes for a camera."""
    folder = tmp_path_factory.mktemp("camera")
    picture = Image.new("RGB", (640, 480), (40, 60, 50))
    picture.paste((250, 250, 245), (200, 120, 360, 300))
    picture.save(folder / "scene.png")
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=95)
    (folder / "scene.mjpeg").write_bytes(encoded.getvalue() * 30)
    return folder / "scene.png"


def test_the_folder_is_all_there_is_to_it(site, model):
    assert (site / "model.tflite").read_bytes() == model.read_bytes()
    told = json.loads((site / "site.json").read_text())
    assert told == {
        **{"name": model.parent.name, "classes": ["dark", "bright thing"], "threshold": 0.4}
    }
    assert "tfod-VERSION" not in (site / "worker.js").read_text()
    for name in ("index.html", "live.js", "style.css", "worker.js"):
        assert "http" not in (site / name).read_text().replace("https:// ", "").replace(
            "http-equiv", ""
        ), name


def test_files_are_served_as_what_they_are(server):
    address = f"http://localhost:{server.server_address[1]}"
    for name, kind in (
        ("vision/wasm/vision_wasm_internal.wasm", "application/wasm"),
        ("vision/vision_bundle.mjs", "text/javascript"),
        ("", "text/html"),
    ):
        with urllib.request.urlopen(f"{address}/{name}") as answer:
            assert answer.headers.get_content_type() == kind


def test_an_archive_with_more_in_it_writes_nothing_else(model, tmp_path):
    archive = tmp_path / "evil.tgz"
    with tarfile.open(archive, "w:gz") as content:
        for name in (
            "package/../../escaped",
            "/tmp/escaped",
            "package/wasm/vision_wasm_/../../../escaped",
            "package/vision_bundle.mjs",
        ):
            member = tarfile.TarInfo(name)
            member.size = 2
            content.addfile(member, io.BytesIO(b"hi"))
        link = tarfile.TarInfo("package/wasm/vision_wasm_link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        content.addfile(link)
    site = live.write_site(model, tmp_path / "site", archive)
    inside = {str(path.relative_to(site)) for path in (site / "vision").rglob("*")}
    assert inside == {"vision/wasm", "vision/vision_bundle.mjs"}
    assert {path.name for path in tmp_path.iterdir()} == {"evil.tgz", "site"}


FOUND = """[...document.querySelectorAll('#found li')].map(
  (each) => [each.textContent, +each.dataset.score, ...JSON.parse(each.dataset.box)])"""


def assert_alike(found, expected, size):
    """What the browser found is what Python found, boxes within 2 % of the picture."""
    ((text, score, *corners),) = found
    assert text == "bright thing 90 %" and score == pytest.approx(0.9, abs=1e-3)
    (box,) = expected.to_pixels_xyxy(*size)
    assert expected.names == ("bright thing",)
    assert np.abs((box - corners) / [*size, *size]).max() < 0.02


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_camera_and_picture_in_a_browser_then_without_a_network(server, scene, model, tmp_path):
    expected = Detector.load(model).predict(scene)
    size = Image.open(scene).size
    address = f"http://localhost:{server.server_address[1]}/"
    camera = (
        *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
        f"--use-file-for-fake-video-capture={scene.with_suffix('.mjpeg')}",
    )
    with browser(*camera, "--window-size=900,1000") as page:
        page.ask("Page.navigate", url=f"{address}?camera")
        page.wait_for("window.camera && camera.textContent == 'Stop camera'")
        page.wait_for("document.querySelectorAll('#found li').length")
        assert page.value("[video.videoWidth, video.videoHeight]") == list(size)
        assert_alike(page.value(FOUND), expected, size)
        assert "pictures a second" in page.value("speed.textContent")
        page.screenshot(tmp_path / "camera.png")
        shown = np.asarray(Image.open(tmp_path / "camera.png").convert("RGB"))
        assert (
            np.abs(shown.astype(int) - (86, 180, 233)).max(axis=2) < 3
        ).sum() > 100  # the class's blue

        data = base64.b64encode(scene.read_bytes()).decode()
        page.value(
            f"""(async () => {{
            const answer = await fetch('data:image/png;base64,{data}');
            const chosen = new DataTransfer();
            chosen.items.add(new File([await answer.blob()], 'scene.png'));
            file.files = chosen.files;
            file.dispatchEvent(new Event('change'));
            }})()"""
        )
        page.wait_for("document.querySelector('#status').textContent == 'scene.png'")
        assert_alike(page.value(FOUND), expected, size)

        for width in (390, 900):
            page.ask(
                "Emulation.setDeviceMetricsOverride",
                **{"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
            )
            assert page.value("document.documentElement.scrollWidth") <= width

        page.ask("Page.navigate", url=address)
        page.wait_for("document.body.innerText.includes('also without a network')")
        server.shutdown()
        server.server_close()
        page.value("document.before = true")
        page.ask("Page.reload", ignoreCache=False)
        page.wait_for(
            "!document.before && document.body.innerText.includes('also without a network')"
        )
        assert page.value("name.textContent || document.title") == model.parent.name
