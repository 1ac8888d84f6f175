"""Tests `live.site`: the page detects the same boxes as Python, also offline."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import tarfile
import threading
import time
import urllib.request
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from browser import CHROMIUM, browser
from tfod.annotation.voc import read_xml
from tfod.cli import main
from tfod.detection.detector import Detector
from tfod.detection.tflite_input import TFLiteInput
from tfod.errors import UserError
from tfod.export.tflite_metadata import pack_tflite
from tfod.live import site as live
from tfod.tiles import Tiles

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def mediapipe():
    try:
        return live.fetch_mediapipe()
    except UserError as error:
        pytest.skip(f"needs npm's registry: {error}")


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> bytes:
    """Detects the bright area: a camera changes colors slightly."""
    import tensorflow as tf

    @tf.function
    def detect(image):
        bright = tf.cast(tf.reduce_min(image, axis=3) > 0, tf.float32)
        low, high = [], []
        for axis in (2, 1):  # rows, then columns
            is_bright = tf.reduce_max(bright, axis=axis)
            position = tf.range(96, dtype=tf.float32)
            low.append(1 - tf.reduce_max(is_bright * (96 - position), axis=1) / 96)
            high.append(tf.reduce_max(is_bright * (position + 1), axis=1) / 96)
        count = tf.reduce_max(bright, axis=(1, 2))
        return {
            "detection_boxes": tf.reshape(tf.stack([*low, *high], axis=1), [1, 1, 4]),
            "detection_scores": 0.9 * count[None],
            "detection_classes": count[None],
            "num_detections": count,
        }

    spec = tf.TensorSpec([1, 96, 96, 3], tf.float32, name="image")
    folder = tmp_path_factory.mktemp("bright")
    module = tf.Module()
    tf.saved_model.save(module, str(folder), signatures=detect.get_concrete_function(spec))
    return tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert()


INPUT = TFLiteInput(96, 96, (1 / 127.5,) * 3, (-1.0,) * 3)
LABELS = {1: "dark", 2: "bright thing"}


@pytest.fixture(scope="module")
def model(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bright_model") / "model.tflite"
    path.write_bytes(pack_tflite(network, INPUT, LABELS, 0.4))
    return path


@pytest.fixture(scope="module")
def site(model, mediapipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    fewer_classes = shutil.copy(model, folder.parent / "dark.tflite")
    live.write_site([model, fewer_classes], folder, mediapipe)
    return folder


@pytest.fixture
def server(site):
    handler = partial(live._Handler, directory=str(site))
    with ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A bright sign as PNG, and as MJPEG for Chromium's fake camera."""
    folder = tmp_path_factory.mktemp("camera")
    image = Image.new("RGB", (640, 480), (40, 60, 50))
    image.paste((250, 250, 245), (200, 120, 360, 300))
    image.save(folder / "scene.png")
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=95)
    (folder / "scene.mjpeg").write_bytes(encoded.getvalue() * 30)
    return folder / "scene.png"


def test_the_folder_contains_the_model_and_loads_nothing_from_other_servers(site, model):
    assert (site / "models/0.tflite").read_bytes() == model.read_bytes()
    first, second = json.loads((site / "site.json").read_text())["models"]
    assert first == {
        **{"name": model.parent.name, "file": "models/0.tflite"},
        **{"classes": ["dark", "bright thing"], "threshold": 0.4},
    }
    assert second["file"] == "models/1.tflite"
    assert "tfod-VERSION" not in (site / "worker.js").read_text()
    for name in ("index.html", "live.js", "style.css", "worker.js"):
        assert "http" not in (site / name).read_text().replace("https:// ", "").replace(
            "http-equiv", ""
        ), name


def test_without_a_model_the_page_detects_road_signs(mediapipe, tmp_path):
    result = CliRunner().invoke(main, ["live", "--output", str(tmp_path / "site")])
    assert result.exit_code == 0, result.output
    (site,) = json.loads((tmp_path / "site/site.json").read_text())["models"]
    assert site["classes"] == ["crosswalk", "speedlimit", "stop", "trafficlight"]
    assert site["name"] == "road_signs"


def test_a_model_of_tiles_is_noted(network, mediapipe, model, tmp_path):
    of_tiles = tmp_path / "tiles.tflite"
    of_tiles.write_bytes(pack_tflite(network, INPUT, LABELS, 0.4, tiles=Tiles(320)))
    command = ["live", "--model", str(of_tiles), "--model", str(model)]
    result = CliRunner().invoke(main, [*command, "--output", str(tmp_path / "site")])
    assert result.exit_code == 0, result.output
    assert f"{of_tiles}: its training images were tiles of 320 pixels" in result.stderr
    assert result.stderr.count("tiles of") == 1


def test_models_are_found_in_folders_and_named_by_them(tmp_path, model):
    for name in ("signs/model.tflite", "signs/model_int8.tflite", "cells/model.tflite"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(model, tmp_path / name)
    found = live.find_models([tmp_path, tmp_path / "signs/model.tflite"])
    assert live._names(found) == ["cells", "signs model", "signs model_int8"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: contains no \.tflite file"):
        live.find_models([tmp_path / "empty"])


def test_files_are_served_with_their_content_types(server):
    address = f"http://localhost:{server.server_address[1]}"
    for name, content_type in (
        ("vision/wasm/vision_wasm_internal.wasm", "application/wasm"),
        ("vision/vision_bundle.mjs", "text/javascript"),
        ("", "text/html"),
    ):
        with urllib.request.urlopen(f"{address}/{name}") as response:
            assert response.headers.get_content_type() == content_type


def test_other_members_of_the_archive_are_not_written(model, tmp_path):
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
    site = tmp_path / "site"
    site.mkdir()
    with pytest.raises(UserError, match="is not a page of tfod live"):
        live.LIVE_PAGE.check(site, "--output")
    live.write_site([model], site, archive)
    live.LIVE_PAGE.check(site, "--output")
    written = {str(path.relative_to(site)) for path in (site / "vision").rglob("*")}
    assert written == {"vision/wasm", "vision/vision_bundle.mjs"}
    assert {path.name for path in tmp_path.iterdir()} == {"evil.tgz", "site"}


def wait_for_files(folder: Path, *patterns: str) -> list[Path]:
    """Waits until each pattern has a file, which is complete."""
    for _ in range(100):
        found = [list(folder.glob(pattern)) for pattern in patterns]
        if all(found) and not list(folder.glob("*.crdownload")):
            return [paths[0] for paths in found]
        time.sleep(0.1)
    raise AssertionError([path.name for path in folder.iterdir()])


DETECTIONS = """[...document.querySelectorAll('#detections li')].map(
  (item) => [item.textContent, +item.dataset.score, ...JSON.parse(item.dataset.box)])"""


def assert_equal(detections, expected, size):
    """Compares the browser's detections with Python's; boxes may differ by 2% of the image."""
    ((text, score, *corners),) = detections
    assert text == "bright thing 90 %" and score == pytest.approx(0.9, abs=1e-3)
    (box,) = expected.to_pixels_xyxy(*size)
    assert expected.names == ("bright thing",)
    assert np.abs((box - corners) / [*size, *size]).max() < 0.02


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_detects_in_camera_and_images_and_works_offline(
    server, site, scene, model, tmp_path
):
    expected = Detector.load(model).predict(scene)
    size = Image.open(scene).size
    address = f"http://localhost:{server.server_address[1]}/"
    camera = (
        *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
        f"--use-file-for-fake-video-capture={scene.with_suffix('.mjpeg')}",
    )
    with browser(*camera, "--window-size=900,1000") as page:
        page.send("Page.navigate", url=f"{address}?camera")
        page.wait_for("window.camera && camera.textContent == 'Stop camera'")
        page.wait_for("document.querySelectorAll('#detections li').length")
        assert page.value("[video.videoWidth, video.videoHeight]") == list(size)
        assert_equal(page.value(DETECTIONS), expected, size)
        # Chromium has no GPU here, so the page falls back to the CPU.
        assert re.search(
            r"\d ms per image on the CPU, [\d.]+ images per second", page.value("speed.textContent")
        )
        page.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        page.value("save.click()")
        page.wait_for("document.querySelector('#status').textContent.startsWith('Saved image_')")
        xml, image = wait_for_files(tmp_path, "image_*.xml", "image_*.jpg")
        saved = read_xml(xml)
        assert (saved.filename, saved.size) == (image.name, size)
        assert [item.box.name for item in saved.objects] == ["bright thing"]
        (box,) = expected.to_pixels_xyxy(*size)
        assert np.abs(box - saved.objects[0].box.corners).max() < 0.02 * size[0]
        assert Image.open(image).size == size
        page.screenshot(tmp_path / "camera.png")
        screenshot = np.asarray(Image.open(tmp_path / "camera.png").convert("RGB")).astype(int)
        is_class_color = np.abs(screenshot - (86, 180, 233)).max(axis=2) < 3
        assert is_class_color.sum() > 100

        data = base64.b64encode(scene.read_bytes()).decode()
        page.value(
            f"""(async () => {{
            const response = await fetch('data:image/png;base64,{data}');
            const transfer = new DataTransfer();
            transfer.items.add(new File([await response.blob()], 'scene.png'));
            file.files = transfer.files;
            file.dispatchEvent(new Event('change'));
            }})()"""
        )
        page.wait_for("document.querySelector('#status').textContent == 'scene.png'")
        assert_equal(page.value(DETECTIONS), expected, size)

        page.value("model.value = 1; model.dispatchEvent(new Event('change'))")
        second = json.loads((site / "site.json").read_text())["models"][1]["name"]
        page.wait_for(f"document.getElementById('name').textContent == {second!r}")
        page.wait_for("document.querySelectorAll('#detections li').length == 1")
        assert_equal(page.value(DETECTIONS), expected, size)

        for width in (390, 900):
            page.send(
                "Emulation.setDeviceMetricsOverride",
                **{"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
            )
            assert page.value("document.documentElement.scrollWidth") <= width

        page.send("Page.navigate", url=address)
        page.wait_for("document.body.innerText.includes('works offline')")
        server.shutdown()
        server.server_close()
        page.value("document.before = true")
        page.send("Page.reload", ignoreCache=False)
        page.wait_for("!document.before && document.body.innerText.includes('works offline')")
        assert page.value("document.getElementById('name').textContent") == model.parent.name
