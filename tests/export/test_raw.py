"""Tests `tfod export --outputs raw`: a `.tflite` without post-processing."""

from __future__ import annotations

import io
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers.corruption import use_corrupted
from tfod.detection.detections import detections_in
from tfod.detection.detector import Detector
from tfod.detection.raw_outputs import PostProcessing
from tfod.detection.tflite_file import ANCHORS, read_tflite
from tfod.detection.tflite_input import resize_bilinear
from tfod.detection.tflite_runtime import load_tflite
from tfod.errors import UserError
from tfod.export.exporter import export
from tfod.model import ExportFolder
from tfod.model.pipeline import read_pipeline, write_pipeline
from tfod.model.run_folder import RunFolder
from tfod.tiles import Tiles

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def raw(tiled_run, tmp_path_factory) -> ExportFolder:
    output = tmp_path_factory.mktemp("raw") / "tiny"
    return ExportFolder(
        export(tiled_run, output, tflite=["float32", "int8"], nms="regular", outputs="raw")
    )


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_raw_outputs_give_the_same_detections(variant, raw, exported, images):
    """As the file with `TFLite_Detection_PostProcess`."""
    detectors = (Detector.load(folder.tflite(variant)) for folder in (ExportFolder(exported), raw))
    with_post_processing, network = detectors
    assert (with_post_processing.tiles, network.tiles) == (None, Tiles(500))
    for image in images[:4]:
        expected, actual = with_post_processing.predict(image), network.predict(image)
        np.testing.assert_allclose(actual.scores, expected.scores, atol=1e-5)
        for box, class_id in zip(expected.boxes, expected.class_ids, strict=True):
            distances = np.abs(actual.boxes[actual.class_ids == class_id] - box).max(axis=1)
            assert distances.min() < 1e-5
        assert actual.names and with_post_processing.labels == network.labels


def test_raw_files_contain_only_builtin_operations(raw, exported):
    operations = pd.read_csv(raw.operations)
    assert set(operations.model) == {"model.tflite", "model_int8.tflite"}
    assert not operations.operation.str.contains("custom").any()
    assert operations[operations.operation == "CONV_2D"]["count"].gt(5).all()
    operations = pd.read_csv(ExportFolder(exported).operations)
    custom = operations[operations.operation.str.contains("custom")]
    assert custom.operation.unique().tolist() == ["TFLite_Detection_PostProcess (custom)"]
    assert custom["count"].tolist() == [1] * 4


def test_raw_files_may_use_several_threads(raw, images):
    """LiteRT's code for suppression within classes is not used."""
    file = read_tflite(raw.tflite("float32"))
    assert not file.one_thread and isinstance(file.post_processing, PostProcessing)
    one, two = (Detector.load(file.path, threads=threads) for threads in (1, 2))
    np.testing.assert_allclose(
        one.predict(images[0]).scores, two.predict(images[0]).scores, atol=1e-5
    )
    parity = pd.read_csv(raw.parity).set_index("model")
    assert parity.loc["model.tflite", "ms_2"] > 0


def test_mediapipe_decodes_raw_outputs(raw, images):
    """All its boxes are decoded ones. It suppresses with its own settings."""
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions
    from mediapipe.tasks.python.vision import ObjectDetector, ObjectDetectorOptions

    file = read_tflite(raw.tflite("float32"))
    everything = replace(file.post_processing, iou_threshold=1.0, max_detections=10_000)
    outputs = load_tflite(replace(file, post_processing=everything))
    pixels = np.rint(resize_bilinear(images[0], 96, 96)).astype(np.uint8)
    decoded = detections_in(
        {name: value[0] for name, value in outputs(pixels).items()}, file.labels
    )
    base = BaseOptions(model_asset_path=str(file.path))
    with ObjectDetector.create_from_options(ObjectDetectorOptions(base_options=base)) as detector:
        found = detector.detect(Image(image_format=ImageFormat.SRGB, data=pixels)).detections
    compared = 0
    # It merges a box with several classes into one detection.
    pairs = [(one.bounding_box, category) for one in found for category in one.categories]
    for box, category in pairs:
        if min(box.origin_x, box.origin_y) == 0:
            continue  # its Python API shifts a box that starts outside the image
        compared += 1
        corners = [box.origin_y, box.origin_x, box.origin_y + box.height, box.origin_x + box.width]
        same = [name == category.category_name for name in decoded.names]
        distances = np.abs(decoded.boxes[same] * 96 - np.minimum(corners, 96)).max(axis=1)
        nearest = distances < 2  # it cuts off position and size to whole pixels
        assert nearest.any()
        assert np.abs(decoded.scores[same][nearest] - category.score).min() < 2e-3
    assert compared > 3


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_corruption_does_not_crash(count, raw, sample_voc, tmp_path):
    image = shutil.copy(sorted((sample_voc / "images").iterdir())[0], tmp_path / "scene.jpg")
    model = shutil.copy(raw.tflite("float32"), tmp_path / "model.tflite")
    assert 0 < use_corrupted("model", model, image, model, count) < count


def test_changed_anchors_are_one_line(raw, tmp_path):
    path = tmp_path / "model.tflite"
    content = raw.tflite("int8").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        anchors = archive.read(ANCHORS)
        members = {name: archive.read(name) for name in archive.namelist()}
        network = content[: min(member.header_offset for member in archive.infolist())]
    for damaged in (anchors[:-16], anchors[:-3], b"\xff" * len(anchors), b""):
        archive = io.BytesIO(network)
        with zipfile.ZipFile(archive, "a") as file:
            for name, member in (members | {ANCHORS: damaged}).items():
                file.writestr(name, member)
        path.write_bytes(archive.getvalue())
        with pytest.raises(UserError, match=r"is corrupt|cannot be loaded"):
            Detector.load(path)


def test_raw_outputs_of_other_models_are_refused(run, tmp_path):
    other = tmp_path / "run"
    other.mkdir()
    for file in run.iterdir():
        if file.is_file():
            (other / file.name).symlink_to(file)
    config = RunFolder(other).config
    pipeline = read_pipeline(config)
    config.unlink()
    pipeline.model.center_net.num_classes = 4
    write_pipeline(pipeline, config)
    with pytest.raises(UserError, match="--outputs: raw is for SSD models only"):
        export(other, tmp_path / "out", outputs="raw")
    assert not (tmp_path / "out").exists()
