"""Checkpoints in the OD API's object-based format: which part of a model they hold, restoring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tfod.errors import UserError
from tfod.model.run_folder import RunFolder
from tfod.upstream.internals import inference_phase

if TYPE_CHECKING:
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

# The first path component of a checkpoint's variables tells what saved it.
BACKBONE_KEY = "feature_extractor/"
MODEL_KEY = "model/"


def find_checkpoint(path: Path) -> Path:
    """The checkpoint prefix meant by a prefix, its `.index` file, or a folder (its latest one).

    Raises:
      UserError: there is no checkpoint.
    """
    import tensorflow as tf

    if path.is_dir():
        latest = tf.train.latest_checkpoint(str(path))
        if latest:
            return Path(latest)
        indexes = sorted(path.glob("*.index"))
        if len(indexes) == 1:
            return indexes[0].with_suffix("")
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    if prefix.with_name(f"{prefix.name}.index").is_file():
        return prefix
    raise UserError(
        path,
        "is not a checkpoint",
        "Name what comes before .index and .data-00000-of-00001, such as FOLDER/ckpt-0",
    )


def checkpoint_type(prefix: Path) -> str:
    """`classification` or `detection`: what can be restored from it (`fine_tune_checkpoint_type`).

    A detector's checkpoint serves as `detection`: everything but the box predictor, whose shape
    depends on the number of classes. `full`, the box predictor too, is for the caller to ask.

    Raises:
      UserError: the file is damaged, or holds neither a detector nor a backbone.
    """
    import tensorflow as tf

    try:
        names = [name for name, _ in tf.train.list_variables(str(prefix))]
    except (tf.errors.OpError, ValueError) as error:
        raise UserError(
            prefix, "cannot be read as a checkpoint", "Download or copy it again"
        ) from error
    if "_CHECKPOINTABLE_OBJECT_GRAPH" not in names:
        raise UserError(
            prefix, "is a TensorFlow 1 checkpoint", "Use one of the TensorFlow 2 model zoo"
        )
    if any(name.startswith(MODEL_KEY) for name in names):
        return "detection"
    if any(name.startswith(BACKBONE_KEY) for name in names):
        return "classification"
    raise UserError(
        prefix,
        "holds neither a detector nor a classification backbone",
        "Use a checkpoint of the OD API: a zoo archive's checkpoint/ckpt-0, or a run's ckpt-N",
    )


def restore_fine_tune_checkpoint(model, prefix: Path, kind: str) -> None:
    """Restores the part of a built model that `kind` names, as `load_fine_tune_checkpoint` does.

    Raises:
      UserError: the checkpoint is of another architecture or number of classes.
    """
    import tensorflow as tf

    parts = model.restore_from_objects(fine_tune_checkpoint_type=kind)
    try:
        # Not restore(), which wants the counter of saves too, that not every checkpoint has.
        status = tf.train.Checkpoint(**parts).read(str(prefix))
        status.expect_partial().assert_existing_objects_matched()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        reason = "other classes, or another" if kind == "full" else "another"
        raise UserError(
            prefix,
            f"does not fit the model as type {kind}: it was trained with {reason} architecture",
            "Give the checkpoint of the template's own model, or another --init-type",
        ) from error


def build_variables(model) -> None:
    """Makes a detection model's variables by one forward pass over a blank picture.

    Keras makes variables at the first call. Upstream (`_ensure_model_is_built`) traces a graph of
    the whole loss for that; one eager pass does the same in a second.
    """
    import tensorflow as tf

    # In training, Faster R-CNN's predict needs ground truth, and batch norm would average the
    # blank picture in.
    with inference_phase(model):
        images, true_shapes = model.preprocess(tf.zeros([1, 64, 64, 3]))
        model.predict(images, true_shapes)


def restore_for_inference(run: Path, pipeline: TrainEvalPipelineConfig):
    """The OD API `DetectionModel` of a run with its best checkpoint, or else its newest.

    Args:
      pipeline: the run's, perhaps of another input size.

    Raises:
      UserError: there is no checkpoint yet, or it belongs to another configuration.
    """
    import tensorflow as tf
    from object_detection.builders import model_builder

    folder = RunFolder(run)
    prefix = folder.checkpoint()
    model = model_builder.build(pipeline.model, is_training=False)
    build_variables(model)
    try:
        status = tf.train.Checkpoint(model=model).read(str(prefix))
        status.expect_partial().assert_existing_objects_matched()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            prefix, f"does not belong to {folder.config}", "Train again into a new folder"
        ) from error
    return model
