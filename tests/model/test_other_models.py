"""Tests models of the OD API that have no template: tfod trains and exports them, too.

Each trains two steps, resumes, is exported, and predicts, with a small input.
"""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format
from object_detection.protos import pipeline_pb2

from tfod.detection.detector import Detector
from tfod.export.exporter import export
from tfod.model.pipeline import Options, read_pipeline, set_input_size, write_pipeline
from tfod.model.templates import find_template
from tfod.training.trainer import RunSettings, train

pytestmark = [pytest.mark.slow, pytest.mark.long]

SIZE = 256  # pixels; EfficientDet needs a multiple of 128, and more than 128
# As the zoo's, whose files are not at hand.
CENTERNET = """model { center_net {
  num_classes: 90
  feature_extractor { type: "%s" }
  image_resizer { keep_aspect_ratio_resizer {
    min_dimension: 512 max_dimension: 512 pad_to_max_dimension: true } }
  object_detection_task { task_loss_weight: 1.0 offset_loss_weight: 1.0 scale_loss_weight: 0.1
    localization_loss { l1_localization_loss { } } }
  object_center_params { object_center_loss_weight: 1.0 min_box_overlap_iou: 0.7
    max_box_predictions: 100
    classification_loss { penalty_reduced_logistic_focal_loss { alpha: 2.0 beta: 4.0 } } }
} }"""
CENTERNETS = ("resnet_v1_50_fpn", "resnet_v2_50", "mobilenet_v2_fpn", "hourglass_104")


def small_pipeline(name, shared):
    """Returns the model of the zoo with a small input, and the training of a template."""
    if name in CENTERNETS:
        text = CENTERNET % name
    else:
        (path,) = (shared / "zoo" / "model_protos").glob(f"{name}_*.pbtxt")
        text = path.read_text()
    pipeline = read_pipeline(find_template("faster_rcnn_resnet50_v1_640x640"))
    parsed = text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig())
    pipeline.model.CopyFrom(parsed.model)
    set_input_size(pipeline, SIZE)
    return pipeline


@pytest.mark.parametrize(
    "name",
    [
        "ssd_mobilenet_v1_fpn_640x640",
        "ssd_efficientdet_d0_512x512",
        "faster_rcnn_resnet101_v1_640x640",
        *CENTERNETS,
    ],
)
def test_a_model_is_trained_resumed_exported_and_predicts(name, data, images, shared, tmp_path):
    config, run = tmp_path / "pipeline.config", tmp_path / "run"
    write_pipeline(small_pipeline(name, shared), config)
    options, settings = Options(steps=3, batch_size=2), RunSettings(checkpoint_every=2)
    steps = []

    def stop_after_two(step):
        steps.append(step)
        if step.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, str(config), run, options, settings, on_step=stop_after_two)
    train(data, str(config), run, options, settings, on_step=steps.append)
    assert [step.number for step in steps] == [1, 2, 3]
    assert np.isfinite([loss for step in steps for loss in step.losses.values()]).all()

    notes = []
    exported = export(run, tmp_path / "exported", on_note=notes.append)
    expected = Detector.load(run).predict(images[0])
    assert len(expected) and set(expected.names) <= set(data.classes.values())
    detections = Detector.load(exported).predict(images[0])
    assert detections.scores == pytest.approx(expected.scores, abs=1e-4)
    has_tflite = (exported / "model.tflite").is_file()
    assert has_tflite == (name not in CENTERNETS and "efficientdet" not in name)
    assert has_tflite != any(note.startswith("no .tflite") for note in notes)
