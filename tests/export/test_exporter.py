"""What an export folder holds, and that SavedModel, TFLite and checkpoint find the same."""

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
from tfod.export.parity import suppressed_across_classes
from tfod.export.tflite_converter import VARIANTS
from tfod.model import ExportFolder
from tfod.model.pipeline import read_pipeline, write_pipeline

pytestmark = pytest.mark.long


def test_folder_holds_models_and_labels(exported, run):
    assert {path.name for path in exported.iterdir()} == {
        "checkpoint",
        "label_map.pbtxt",
        "labels.txt",
        "model.tflite",
        "model_dynamic.tflite",
        "model_float16.tflite",
        "model_int8.tflite",
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


def test_the_exported_checkpoint_starts_a_new_run(exported):
    from tfod.model.checkpoint import checkpoint_type, find_checkpoint

    assert checkpoint_type(find_checkpoint(exported / "checkpoint")) == "detection"


def test_saved_model_tflite_and_checkpoint_find_the_same(exported, run, pictures):
    saved_model, lite = Detector.load(exported), Detector.load(exported / "model.tflite")
    checkpoint = Detector.load(run)
    for picture in pictures:
        expected = saved_model.predict(picture)
        assert len(expected) == 100
        assert expected.scores[0] > expected.scores[20] + 2e-4  # there is an order to keep
        for other in (lite.predict(picture), checkpoint.predict(picture)):
            np.testing.assert_allclose(other.scores[:20], expected.scores[:20], atol=2e-5)
            # Where scores all but tie, two boxes may change places.
            for box, score in zip(expected.boxes[:20], expected.scores[:20], strict=True):
                rivals = other.boxes[np.abs(other.scores - score) < 4e-5]
                assert np.abs(rivals - box).max(axis=1).min() < 1e-3


def test_smaller_variants_are_smaller_and_find_nearly_the_same(exported, pictures):
    sizes = {name: ExportFolder(exported).tflite(name).stat().st_size for name in VARIANTS}
    assert sizes["float16"] < 0.7 * sizes["float32"]
    assert max(sizes["dynamic"], sizes["int8"]) < 0.6 * sizes["float32"]
    expected = [Detector.load(exported / "model.tflite").predict(picture) for picture in pictures]
    for name, tolerance in (("float16", 0.01), ("dynamic", 0.1), ("int8", 0.15)):
        detector = Detector.loadExportFolder(exported).tflite(name)
        for picture, theirs in zip(pictures, expected, strict=True):
            ours = detector.predict(picture)
            assert len(ours) == len(theirs)
            np.testing.assert_allclose(ours.scores[:20], theirs.scores[:20], atol=tolerance)


def test_parity_holds_each_model_against_the_checkpoint(exported, data):
    table = pd.read_csv(exported / "parity.csv").set_index("model")
    assert list(table.index) == [
        *("checkpoint", "saved_model", "model.tflite", "model_float16.tflite"),
        *("model_dynamic.tflite", "model_int8.tflite"),
    ]
    assert table.loc["saved_model", "box_difference"] == 0 == table.loc["saved_model", "unlike"]
    assert table.loc["saved_model", "AP50"] == table.loc["checkpoint", "AP50"]
    assert table.loc["model.tflite", "box_difference"] < 1e-5
    size = (exported / "model.tflite").stat().st_size
    assert table.loc["model.tflite", "MB"] == pytest.approx(size / 1e6)
    assert (
        table.loc[[ExportFolder(exported).tflite(name).name for name in VARIANTS], ["ms_1", "ms_2"]]
        > 0
    ).all(axis=None)


def test_chosen_variants_without_the_data_set(run, tmp_path):
    """int8 takes pictures from the training split, and the comparison from val."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    pipeline = read_pipeline(copy / "pipeline.config")
    for reader in (pipeline.train_input_reader, pipeline.eval_input_reader[0]):
        reader.tf_record_input_reader.input_path[:] = [str(tmp_path / "gone.tfrecord")]
    write_pipeline(pipeline, copy / "pipeline.config")
    with pytest.raises(UserError, match=r"gone\.tfrecord: is not there, and int8 takes pictures"):
        export(copy, tmp_path / "exported", tflite=["int8"])
    notes = []
    exported = export(copy, tmp_path / "exported", tflite=["float16"], on_note=notes.append)
    assert [path.name for path in exported.glob("*.tflite")] == ["model_float16.tflite"]
    assert not (exported / "parity.csv").exists()
    assert [note.partition(":")[0] for note in notes] == [
        "no parity.csv",
        "the .tflite files suppress boxes within a class, as the config says",
    ]
    # The one thread it may use is what the file says, whoever asks for more.
    file = read_tflite(exported / "model_float16.tflite")
    assert file.one_thread


def most_overlap(found: Detections) -> float:
    """Highest IoU of two boxes that do not end at the picture's edge, where all are cut off."""
    inside = ((found.boxes > 0.001) & (found.boxes < 0.999)).all(axis=1)
    boxes = found.boxes[inside].astype(float)
    assert len(boxes) > 5
    return iou(boxes, boxes)[~np.eye(len(boxes), dtype=bool)].max()


def test_another_input_size_and_suppression_across_classes_reach_every_form(
    run, pictures, tmp_path
):
    """A run as trained at 96 pixels, exported at 128, with one class a place."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    pipeline = read_pipeline(copy / "pipeline.config")
    suppression = pipeline.model.ssd.post_processing.batch_non_max_suppression
    suppression.use_class_agnostic_nms = True
    suppression.max_classes_per_detection = 1
    write_pipeline(pipeline, copy / "pipeline.config")
    exported = export(copy, tmp_path / "exported", input_size=128, tflite=["float32"])
    given = read_tflite(exported / "model.tflite").given
    assert (given.height, given.width) == (128, 128)
    resizer = read_pipeline(exported / "pipeline.config").model.ssd.image_resizer
    assert resizer.fixed_shape_resizer.height == resizer.fixed_shape_resizer.width == 128
    assert not (exported / "metrics.json").exists()  # would be those of the other size

    saved_model, lite = Detector.load(exported), Detector.load(exported / "model.tflite")
    checkpoint = Detector.load(copy, input_size=128)
    within_class = Detector.load(run, input_size=128)
    for picture in pictures[:3]:
        expected = saved_model.predict(picture)
        assert most_overlap(expected) < 0.61
        for other in (lite.predict(picture), checkpoint.predict(picture)):
            np.testing.assert_allclose(other.scores[:10], expected.scores[:10], atol=2e-5)
        assert most_overlap(within_class.predict(picture)) > 0.61
        # What export judges whether to suppress so without converting for it.
        outputs = within_class.predict(picture, raw=True)
        foreseen = suppressed_across_classes(outputs, suppression, within_class.labels)
        seen = lite.predict(picture)
        np.testing.assert_allclose(foreseen.scores[:10], seen.scores[:10], atol=2e-5)
        np.testing.assert_allclose(foreseen.boxes[:10], seen.boxes[:10], atol=1e-4)
        assert foreseen.names[:10] == seen.names[:10]
    with pytest.raises(UserError, match="is no run"):
        Detector.load(exported, input_size=128)


def test_an_existing_folder_is_kept(exported, run):
    before = (exported / "model.tflite").read_bytes()
    with pytest.raises(UserError, match="exists already"):
        export(run, exported)
    assert (exported / "model.tflite").read_bytes() == before


def test_a_run_without_a_checkpoint_is_one_line(run, tmp_path):
    empty = tmp_path / "run"
    empty.mkdir()
    for name in ("pipeline.config", "label_map.pbtxt"):
        (empty / name).write_bytes((run / name).read_bytes())
    with pytest.raises(UserError, match="has no checkpoint yet"):
        export(empty, tmp_path / "exported")
    with pytest.raises(UserError, match="is not a run folder"):
        export(tmp_path / "nothing", tmp_path / "exported")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
