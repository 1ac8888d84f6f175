"""Tests `export.exporter`: its files, and equal detections of SavedModel, TFLite and checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfod.detection.detections import Detections
from tfod.detection.detector import Detector
from tfod.detection.tflite_file import read_tflite
from tfod.errors import UserError
from tfod.evaluation.error_analysis import iou
from tfod.export import export
from tfod.export.parity import suppress_across_classes
from tfod.export.tflite_converter import VARIANTS
from tfod.model import ExportFolder
from tfod.model.pipeline import read_pipeline, write_pipeline

pytestmark = pytest.mark.long


def test_folder_contains_models_and_labels(exported, run):
    assert {path.name for path in exported.iterdir()} == {
        "checkpoint",
        "detection.json",
        "label_map.pbtxt",
        "labels.txt",
        "model.tflite",
        "model_dynamic.tflite",
        "model_float16.tflite",
        "model_int8.tflite",
        "operations.csv",
        "parity.csv",
        "pipeline.config",
        "saved_model",
    }
    assert (exported / "labels.txt").read_text() == "crosswalk\nspeedlimit\nstop\ntrafficlight\n"
    assert (exported / "checkpoint" / "ckpt-0.index").is_file()
    assert (exported / "pipeline.config").read_text() == (run / "pipeline.config").read_text()


def test_saved_model_has_the_od_api_signature(exported):
    import tensorflow as tf

    signature = tf.saved_model.load(str(exported / "saved_model")).signatures["serving_default"]
    ((name, spec),) = signature.structured_input_signature[1].items()
    assert (name, spec.dtype) == ("input_tensor", tf.uint8)
    assert spec.shape.as_list() == [1, None, None, 3]
    assert set(signature.structured_outputs) == {
        "detection_anchor_indices",
        "detection_boxes",
        "detection_classes",
        "detection_multiclass_scores",
        "detection_scores",
        "num_detections",
        "raw_detection_boxes",
        "raw_detection_scores",
    }


def test_the_exported_checkpoint_is_a_fine_tune_checkpoint(exported):
    from tfod.model.checkpoint import checkpoint_type, find_checkpoint

    assert checkpoint_type(find_checkpoint(exported / "checkpoint")) == "detection"


def test_saved_model_tflite_and_checkpoint_give_equal_detections(exported, run, images):
    saved_model, tflite = Detector.load(exported), Detector.load(exported / "model.tflite")
    checkpoint = Detector.load(run)
    for image in images:
        expected = saved_model.predict(image)
        assert len(expected) == 100
        assert expected.scores[0] > expected.scores[20] + 2e-4  # the order is significant
        for actual in (tflite.predict(image), checkpoint.predict(image)):
            np.testing.assert_allclose(actual.scores[:20], expected.scores[:20], atol=2e-5)
            # Boxes with almost equal scores may be in another order.
            for box, score in zip(expected.boxes[:20], expected.scores[:20], strict=True):
                candidates = actual.boxes[np.abs(actual.scores - score) < 4e-5]
                assert np.abs(candidates - box).max(axis=1).min() < 1e-3


def test_smaller_variants_are_smaller_and_give_similar_scores(exported, images):
    sizes = {name: ExportFolder(exported).tflite(name).stat().st_size for name in VARIANTS}
    assert sizes["float16"] < 0.7 * sizes["float32"]
    assert max(sizes["dynamic"], sizes["int8"]) < 0.6 * sizes["float32"]
    float32 = Detector.load(exported / "model.tflite")
    expected = [float32.predict(image) for image in images]
    for name, tolerance in (("float16", 0.01), ("dynamic", 0.1), ("int8", 0.15)):
        detector = Detector.load(ExportFolder(exported).tflite(name))
        for image, in_float32 in zip(images, expected, strict=True):
            detections = detector.predict(image)
            assert len(detections) == len(in_float32)
            np.testing.assert_allclose(
                detections.scores[:20], in_float32.scores[:20], atol=tolerance
            )


def test_parity_compares_each_model_with_the_checkpoint(exported):
    table = pd.read_csv(exported / "parity.csv").set_index("model")
    assert list(table.index) == [
        *("checkpoint", "saved_model", "model.tflite", "model_float16.tflite"),
        *("model_dynamic.tflite", "model_int8.tflite"),
    ]
    assert table.loc["saved_model", "box_error"] == 0 == table.loc["saved_model", "unmatched"]
    assert table.loc["saved_model", "AP50"] == table.loc["checkpoint", "AP50"]
    assert table.loc["model.tflite", "box_error"] < 1e-5
    size = (exported / "model.tflite").stat().st_size
    assert table.loc["model.tflite", "MB"] == pytest.approx(size / 1e6)
    tflite = [ExportFolder(exported).tflite(name).name for name in VARIANTS]
    assert (table.loc[tflite, "ms_1"] > 0).all()
    assert table["ms_2"].isna().all()  # with `regular`, the files run on one thread


def test_selected_variants_without_the_data_set(run, tmp_path):
    """int8 needs images of the train split, and the comparison needs the val split."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    pipeline = read_pipeline(copy / "pipeline.config")
    for reader in (pipeline.train_input_reader, pipeline.eval_input_reader[0]):
        reader.tf_record_input_reader.input_path[:] = [str(tmp_path / "gone.tfrecord")]
    write_pipeline(pipeline, copy / "pipeline.config")
    with pytest.raises(UserError, match=r"gone\.tfrecord: is missing, and int8 needs its images"):
        export(copy, tmp_path / "exported", tflite=["int8"])
    notes = []
    exported = export(copy, tmp_path / "exported", tflite=["float16"], on_note=notes.append)
    assert [path.name for path in exported.glob("*.tflite")] == ["model_float16.tflite"]
    assert not (exported / "parity.csv").exists()
    assert [note.partition(":")[0] for note in notes] == [
        "no parity.csv",
        "the .tflite files suppress boxes within each class, as in the config",
    ]
    assert read_tflite(exported / "model_float16.tflite").one_thread


def highest_overlap(detections: Detections) -> float:
    """Returns the highest IoU of two boxes that are not clipped at the edge of the image."""
    is_inside = ((detections.boxes > 0.001) & (detections.boxes < 0.999)).all(axis=1)
    boxes = detections.boxes[is_inside].astype(float)
    assert len(boxes) > 5
    return iou(boxes, boxes)[~np.eye(len(boxes), dtype=bool)].max()


@pytest.mark.slow
def test_input_size_and_suppression_across_classes_apply_to_all_models(run, images, tmp_path):
    """Exports a run, trained at 96 pixels, at 128 pixels and with suppression across classes."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    pipeline = read_pipeline(copy / "pipeline.config")
    suppression = pipeline.model.ssd.post_processing.batch_non_max_suppression
    suppression.use_class_agnostic_nms = True
    suppression.max_classes_per_detection = 1
    write_pipeline(pipeline, copy / "pipeline.config")
    exported, stages = tmp_path / "exported", []

    def progress(stage, done, total):
        stages.append((stage, done, total))

    export(copy, exported, input_size=128, tflite=["float32"], progress=progress)
    assert stages == [
        *(("converting", done, 2) for done in range(3)),
        *(("comparing", done, 2) for done in range(3)),
    ]
    input_spec = read_tflite(exported / "model.tflite").input
    assert (input_spec.height, input_spec.width) == (128, 128)
    resizer = read_pipeline(exported / "pipeline.config").model.ssd.image_resizer
    assert resizer.fixed_shape_resizer.height == resizer.fixed_shape_resizer.width == 128
    assert not (exported / "metrics.json").exists()  # those of the run are for 96 pixels

    saved_model, tflite = Detector.load(exported), Detector.load(exported / "model.tflite")
    checkpoint = Detector.load(copy, input_size=128)
    within_class = Detector.load(run, input_size=128)
    for image in images[:3]:
        expected = saved_model.predict(image)
        assert highest_overlap(expected) < 0.61
        for actual in (tflite.predict(image), checkpoint.predict(image)):
            np.testing.assert_allclose(actual.scores[:10], expected.scores[:10], atol=2e-5)
        assert highest_overlap(within_class.predict(image)) > 0.61
        # With this, export predicts the effect of `--nms fast` without converting a model.
        outputs = within_class.predict(image, raw=True)
        predicted = suppress_across_classes(outputs, suppression, within_class.labels)
        actual = tflite.predict(image)
        np.testing.assert_allclose(predicted.scores[:10], actual.scores[:10], atol=2e-5)
        np.testing.assert_allclose(predicted.boxes[:10], actual.boxes[:10], atol=1e-4)
        assert predicted.names[:10] == actual.names[:10]
    with pytest.raises(UserError, match="is not a run folder"):
        Detector.load(exported, input_size=128)


def test_an_existing_folder_is_an_error(exported, run):
    before = (exported / "model.tflite").read_bytes()
    with pytest.raises(UserError, match="already exists"):
        export(run, exported)
    assert (exported / "model.tflite").read_bytes() == before


def test_a_run_without_a_checkpoint_is_an_error(run, tmp_path):
    empty = tmp_path / "run"
    empty.mkdir()
    for name in ("pipeline.config", "label_map.pbtxt"):
        (empty / name).write_bytes((run / name).read_bytes())
    with pytest.raises(UserError, match="has no checkpoint yet"):
        export(empty, tmp_path / "exported")
    with pytest.raises(UserError, match="is not a run folder"):
        export(tmp_path / "nothing", tmp_path / "exported")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
