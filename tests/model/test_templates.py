"""Every zoo template builds; each architecture trains, resumes, and exports a model that runs."""

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

SIZE = 160  # pixels: the layers are those of the full size, the feature maps are not
# Templates of one architecture differ in input size and schedule, which is the same here.
ARCHITECTURES = {name.rpartition("_")[0]: name for name in reversed(ZOO)}


def at_tiny_size(name, path):
    """The template with a small input, and where it is a MobileNet a narrow one."""
    pipeline = read_pipeline(find_template(name))
    model = architecture(pipeline)
    set_input_size(pipeline, SIZE)
    if "mobilenet" in model.feature_extractor.type:
        model.feature_extractor.depth_multiplier = 0.35
    if name.startswith("ssd"):  # scores that a .tflite reports
        predictor = model.box_predictor
        chosen = getattr(predictor, predictor.WhichOneof("box_predictor_oneof"))
        chosen.class_prediction_bias_init = -2.0
    write_pipeline(pipeline, path)
    return path


@pytest.mark.parametrize("name", ZOO)
def test_builds_at_full_size(name):
    model = model_builder.build(read_pipeline(find_template(name)).model, is_training=True)
    image, true_shape = model.preprocess(tf.zeros([1, 300, 400, 3]))
    # The zoo's own config contradicts the name of this one.
    size = 300 if name == "ssd_mobilenet_v2_320x320" else int(name.rpartition("x")[2])
    assert image.shape == (1, size, size, 3)
    assert true_shape.numpy()[0].max() == size


@pytest.mark.long
@pytest.mark.parametrize("name", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_template(name, data, pictures, tmp_path, monkeypatch):
    template = at_tiny_size(name, tmp_path / "pipeline.config")
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
    tf.config.run_functions_eagerly(True)  # one step is quicker run than traced
    try:
        train(data, str(template), run, options, settings, on_step=steps.append)
    finally:
        tf.config.run_functions_eagerly(False)
    assert [step.number for step in steps] == [1, 2, 3]

    exported = export(run, tmp_path / "exported", tflite=["float32"], nms="regular")
    detector = Detector.load(exported)
    picture = pictures[0][:, : len(pictures[0])]  # a square, which no resizer has to pad
    found = detector.predict(picture)
    assert found.boxes.shape == (len(found), 4) and len(found) > 0
    assert set(found.names) <= set(data.classes.values())
    again = Detector.load(run).predict(picture)
    assert again.scores == pytest.approx(found.scores, abs=1e-4)
    lite = Detector.load(exported / "model.tflite").predict(picture)
    assert lite.scores[:10] == pytest.approx(found.scores[:10], abs=1e-3)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archive = zoo.archive_for(name)
    with tarfile.open(tmp_path / "archive.tar.gz", "w:gz", compresslevel=1) as packed:
        packed.add(exported, archive.name)
    with Server((tmp_path / "archive.tar.gz").read_bytes()) as server:
        monkeypatch.setattr(zoo, "SERVER", server.url.removesuffix("/file.bin"))
        prefix = zoo.fetch_checkpoint(archive)
        server.shutdown()
    pipeline = read_pipeline(run / "pipeline.config")
    trained = restore_for_inference(run, pipeline)
    model = model_builder.build(pipeline.model, is_training=True)
    build_variables(model)
    for kind in ("detection", "full"):  # in this order: the second restores what the first leaves
        restore_fine_tune_checkpoint(model, prefix, kind)
        differ = [
            own.name
            for own, theirs in zip(model.variables, trained.variables, strict=True)
            if not np.array_equal(own, theirs)
        ]
        assert all("Predictor" in each or "RPN" in each for each in differ)
        assert bool(differ) == (kind == "detection")
