"""A run's best checkpoint -> a folder with SavedModel, TFLite and label files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.checkpoint import restore_for_inference
from tfod.dataset import LABEL_MAP, read_label_map
from tfod.errors import UserError
from tfod.files import refuse_existing, replacing_folder
from tfod.pipeline import CONFIG_NAME, read_pipeline, set_input_size, write_pipeline
from tfod.quiet import native_chatter_held
from tfod.tflite import INPUT_FILE, TFLiteInput

if TYPE_CHECKING:
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

METRICS = "metrics.json"
TFLITE_FILE = "model.tflite"


def export(run: Path, output: Path, overwrite: bool = False, input_size: int | None = None) -> Path:
    """Exports a run's best checkpoint on the val split, or its newest where there is none.

    The folder is laid out as a model-zoo archive, with more beside: checkpoint/ckpt-0,
    saved_model/ (OD API signature: `input_tensor` uint8 `[1, H, W, 3]` in, `detection_boxes`,
    `detection_scores`, `detection_classes`, `num_detections`, … out), pipeline.config,
    label_map.pbtxt, labels.txt (line N is class id N), the run's metrics.json if it was
    evaluated, and for SSD models model.tflite (float32) with tflite_input.json.

    Args:
      run: a folder that train wrote.
      output: the folder to write; appears when complete.
      overwrite: replace a folder that is there.
      input_size: pixels to resize pictures to, see `pipeline.set_input_size`; None for what the
        run was trained at.

    Returns:
      `output`.

    Raises:
      UserError: there is no run or no checkpoint in it, or `output` exists.
    """
    if not (run / CONFIG_NAME).is_file():
        raise UserError(run, "is not a run folder", "Name a folder that `tfod train` wrote")
    refuse_existing(output, overwrite)
    pipeline = read_pipeline(run / CONFIG_NAME)
    labels = read_label_map(run / LABEL_MAP)
    if input_size is not None:
        set_input_size(pipeline, input_size)
    model = restore_for_inference(run, pipeline)
    with replacing_folder(output) as folder:
        _save_checkpoint_and_saved_model(model, folder)
        if pipeline.model.WhichOneof("model") == "ssd":
            (folder / TFLITE_FILE).write_bytes(_convert_to_tflite(model, pipeline))
            describe_tflite_input(model, pipeline).write(folder / INPUT_FILE)
        write_pipeline(pipeline, folder / CONFIG_NAME)
        shutil.copyfile(run / LABEL_MAP, folder / LABEL_MAP)
        names = [labels[class_id] for class_id in sorted(labels)]
        (folder / "labels.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        if (run / METRICS).is_file() and input_size is None:
            shutil.copyfile(run / METRICS, folder / METRICS)
    return output


def _save_checkpoint_and_saved_model(model, folder: Path) -> None:
    """As OD API `exporter_lib_v2.export_inference_graph`, on a model already restored."""
    import tensorflow as tf
    from object_detection import exporter_lib_v2

    module = exporter_lib_v2.DetectionFromImageModule(model)
    signature = module.__call__.get_concrete_function()
    tf.train.Checkpoint(model=model).write(str(folder / "checkpoint" / "ckpt-0"))
    tf.saved_model.save(module, str(folder / "saved_model"), signatures=signature)


def _convert_to_tflite(model, pipeline: TrainEvalPipelineConfig) -> bytes:
    """float32 TFLite of an SSD model, post-processing included, outputs named as in a SavedModel.

    Upstream's `export_tflite_graph_tf2.py` keeps 10 detections and suppresses boxes without regard
    to their class; this keeps as many and suppresses as the pipeline.config says, so that the phone
    finds what the SavedModel finds.
    """
    import tensorflow as tf
    from object_detection import export_tflite_graph_lib_tf2 as upstream

    suppression = pipeline.model.ssd.post_processing.batch_non_max_suppression
    within_class = not suppression.use_class_agnostic_nms
    module = upstream.SSDModule(pipeline, model, suppression.max_total_detections, within_class)

    @tf.function(autograph=False)
    def detect(image):
        # SSDModule returns them in this order (reversed from what its docstring lists).
        names = ("num_detections", "detection_scores", "detection_classes", "detection_boxes")
        return dict(zip(names, module.inference_fn(image), strict=True))

    spec = tf.TensorSpec(module.input_shape(), tf.float32, name="image")
    with tempfile.TemporaryDirectory() as folder, native_chatter_held():
        tf.saved_model.save(module, folder, signatures=detect.get_concrete_function(spec))
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def describe_tflite_input(model, pipeline: TrainEvalPipelineConfig) -> TFLiteInput:
    """Reads off how a model normalizes pixels, by showing it a black and a white picture.

    Every feature extractor of the OD API maps a channel linearly (MobileNet to [-1, 1], ResNet by
    subtracting the ImageNet mean), so that two points tell all.
    """
    import tensorflow as tf

    resizer = pipeline.model.ssd.image_resizer.fixed_shape_resizer
    shape = [1, resizer.height, resizer.width, 3]
    black, white = (
        model.preprocess(tf.fill(shape, value))[0].numpy()[0, 0, 0] for value in (0.0, 255.0)
    )
    return TFLiteInput(
        resizer.height,
        resizer.width,
        scale=tuple(((white - black) / 255).tolist()),
        offset=tuple(black.tolist()),
    )
