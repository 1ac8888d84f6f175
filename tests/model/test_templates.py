"""Tests the templates.

Those of the model zoo are built, and each architecture is trained, resumed and exported.
"""

from __future__ import annotations

import tarfile

import numpy as np
import pytest
import tensorflow as tf
from object_detection.builders import model_builder

from helpers.file_server import Server
from helpers.templates import ZOO
from tfod.detection.detector import Detector
from tfod.export.exporter import export
from tfod.model import zoo
from tfod.model.checkpoint import (
    build_variables,
    restore_fine_tune_checkpoint,
    restore_for_inference,
)
from tfod.model.pipeline import Options, architecture, read_pipeline, set_input_size, write_pipeline
from tfod.model.templates import find_template
from tfod.training.trainer import RunSettings, train

SIZE = 160  # pixels; the layers are the same as at full size, with smaller feature maps
# One template per architecture; its other templates differ in input size and schedule only.
NOT_IN_ZOO = "faster_rcnn_resnet50_fpn_640x640"
ARCHITECTURES = {name.rpartition("_")[0]: name for name in reversed((*ZOO, NOT_IN_ZOO))}


def write_small_template(name, path):
    """Writes a template with a small input, and with few channels if it is a MobileNet."""
    pipeline = read_pipeline(find_template(name))
    model = architecture(pipeline)
    set_input_size(pipeline, SIZE)
    if "mobilenet" in model.feature_extractor.type:
        model.feature_extractor.depth_multiplier = 0.35
    if name.startswith("ssd"):  # raises the scores above the minimum that a .tflite returns
        predictor = model.box_predictor
        chosen = getattr(predictor, predictor.WhichOneof("box_predictor_oneof"))
        chosen.class_prediction_bias_init = -2.0
    write_pipeline(pipeline, path)
    return path


@pytest.mark.parametrize("name", [*ZOO, NOT_IN_ZOO])
def test_a_template_is_built_at_full_size(name):
    model = model_builder.build(read_pipeline(find_template(name)).model, is_training=True)
    image, true_shape = model.preprocess(tf.zeros([1, 300, 400, 3]))
    # In the zoo, too, the input size of this model differs from its name.
    size = 300 if name == "ssd_mobilenet_v2_320x320" else int(name.rpartition("x")[2])
    assert image.shape == (1, size, size, 3)
    assert true_shape.numpy()[0].max() == size


@pytest.mark.long
@pytest.mark.slow  # minutes and gigabytes, with a ResNet-50
@pytest.mark.parametrize("name", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_an_architecture_is_trained_resumed_exported_and_restored(
    name, data, images, tmp_path, monkeypatch
):
    template = write_small_template(name, tmp_path / "pipeline.config")
    options, settings = (
        Options(steps=3, batch_size=2),
        RunSettings(checkpoint_every=2, eval_every=3),
    )
    steps = []

    def stop_after_two(step):
        steps.append(step)
        if step.number == 2:
            raise KeyboardInterrupt

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(data, str(template), run, options, settings, on_step=stop_after_two)
    assert [step.number for step in steps] == [1, 2]
    losses = [loss for step in steps for loss in step.losses.values()]
    assert np.isfinite(losses).all() and max(losses) < 100
    tf.config.run_functions_eagerly(True)  # running one step eagerly is faster than tracing it
    try:
        train(data, str(template), run, options, settings, on_step=steps.append)
    finally:
        tf.config.run_functions_eagerly(False)
    assert [step.number for step in steps] == [1, 2, 3]

    exported = export(run, tmp_path / "exported", tflite=["float32"], nms="regular")
    detector = Detector.load(exported)
    image = images[0][:, : len(images[0])]  # a square, so no resizer pads it
    detections = detector.predict(image)
    assert detections.boxes.shape == (len(detections), 4) and len(detections) > 0
    assert set(detections.names) <= set(data.classes.values())
    from_run = Detector.load(run).predict(image)
    assert from_run.scores == pytest.approx(detections.scores, abs=1e-4)
    from_tflite = Detector.load(exported / "model.tflite").predict(image)
    assert from_tflite.scores[:10] == pytest.approx(detections.scores[:10], abs=1e-3)

    if name == NOT_IN_ZOO:
        return
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archive = zoo.archive_for(name)
    with tarfile.open(tmp_path / "archive.tar.gz", "w:gz", compresslevel=1) as file:
        file.add(exported, archive.name)
    with Server((tmp_path / "archive.tar.gz").read_bytes()) as server:
        monkeypatch.setattr(zoo, "SERVER", server.url.removesuffix("/file.bin"))
        prefix = zoo.fetch_checkpoint(archive)
        server.shutdown()
    pipeline = read_pipeline(run / "pipeline.config")
    trained = restore_for_inference(run, pipeline)
    model = model_builder.build(pipeline.model, is_training=True)
    build_variables(model)
    for kind in ("detection", "full"):  # in this order: full restores the rest
        restore_fine_tune_checkpoint(model, prefix, kind)
        differing = [
            restored.name
            for restored, expected in zip(model.variables, trained.variables, strict=True)
            if not np.array_equal(restored, expected)
        ]
        assert all("Predictor" in variable or "RPN" in variable for variable in differing)
        assert bool(differing) == (kind == "detection")
