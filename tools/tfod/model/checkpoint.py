"""Finds, classifies and restores checkpoints in the OD API's object-based format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tfod.errors import UserError
from tfod.model.build import build_model
from tfod.model.run_folder import RunFolder
from tfod.upstream.internals import inference_mode

if TYPE_CHECKING:
    from object_detection.core.model import DetectionModel
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig

# The first path component of a checkpoint's variables shows which kind of model was saved.
BACKBONE_KEY = "feature_extractor/"
MODEL_KEY = "model/"
# Folders with a checkpoint, in a run folder and in an export folder.
CHECKPOINT_FOLDERS = ("best", "checkpoint")


def find_checkpoint(path: Path) -> Path:
    """Returns the prefix of a checkpoint.

    Args:
      path: a checkpoint prefix, its `.index` file, or a folder, whose latest checkpoint is used.
        In a run folder, this is the best one. In an export folder, there is only one.

    Raises:
      UserError: there is no checkpoint.
    """
    import tensorflow as tf

    if path.is_dir():
        best, exported = (path / name for name in CHECKPOINT_FOLDERS)
        for folder in (best, path, exported):
            if folder.is_dir() and (latest := tf.train.latest_checkpoint(str(folder))):
                return Path(latest)
        indexes = sorted(path.glob("*.index"))
        if len(indexes) == 1:
            return indexes[0].with_suffix("")
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    # A path such as `.` has no name.
    if prefix.name and prefix.with_name(f"{prefix.name}.index").is_file():
        return prefix
    raise UserError(
        path,
        "is not a checkpoint",
        "Give the part of its file names before .index and .data-00000-of-00001, such as "
        "FOLDER/ckpt-0",
    )


def checkpoint_type(prefix: Path) -> str:
    """Returns the `fine_tune_checkpoint_type` of a checkpoint: what can be restored from it.

    Returns:
      `classification` for a backbone. `detection` for a detector: everything but the box predictor,
      whose shape depends on the number of classes. `full`, which includes the box predictor, is
      never returned; callers choose it.

    Raises:
      UserError: the file is damaged, or contains neither a detector nor a backbone.
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
        "contains neither a detector nor a classification backbone",
        "Use a checkpoint of the OD API: checkpoint/ckpt-0 of a zoo archive, or ckpt-N of a run",
    )


def restore_fine_tune_checkpoint(model: DetectionModel, prefix: Path, kind: str) -> None:
    """Restores a part of a model from a fine-tune checkpoint.

    Source: `object_detection.model_lib_v2.load_fine_tune_checkpoint`.

    Args:
      model: its variables must exist, see `build_variables`.
      kind: the `fine_tune_checkpoint_type`: `detection`, `full` or `classification`.

    Raises:
      UserError: the checkpoint cannot be read, or has another architecture or number of classes.
    """
    import tensorflow as tf

    parts = model.restore_from_objects(fine_tune_checkpoint_type=kind)
    try:
        # restore() would also need the save counter, which some checkpoints do not have.
        status = tf.train.Checkpoint(**parts).read(str(prefix))
        status.expect_partial().assert_existing_objects_matched()
    except tf.errors.ResourceExhaustedError:
        raise  # the memory is full
    except (tf.errors.OpError, IndexError) as error:  # IndexError: the file is truncated
        raise _unreadable(prefix) from error
    except (AssertionError, ValueError) as error:
        reason = "other classes, or another" if kind == "full" else "another"
        raise UserError(
            prefix,
            f"does not fit the model as type {kind}: it was trained with {reason} architecture",
            "Give a checkpoint of the template's own model, or another --init-type",
        ) from error


def build_variables(model: DetectionModel) -> None:
    """Creates the variables of a model with one forward pass over a blank image.

    Keras creates variables when a layer is first called. The OD API
    (`model_lib_v2._ensure_model_is_built`) traces a graph of the whole loss for this. One eager
    pass has the same effect and takes a second.
    """
    import tensorflow as tf

    # In training mode, Faster R-CNN's predict() needs ground truth, and batch norm would include
    # the blank image in its moving averages.
    with inference_mode(model):
        images, true_shapes = model.preprocess(tf.zeros([1, 64, 64, 3]))
        model.predict(images, true_shapes)


def restore_for_inference(run: Path, pipeline: TrainEvalPipelineConfig) -> DetectionModel:
    """Builds the OD API model of a run, set to inference, and restores its best checkpoint, or the
    newest if none was evaluated.

    Args:
      pipeline: the run's configuration; its input size may differ.

    Raises:
      UserError: there is no checkpoint yet, it cannot be read, or it belongs to another
        configuration.
    """
    folder = RunFolder(run)
    model = build_model(pipeline, is_training=False)
    build_variables(model)
    restore_detector(model, folder.checkpoint(), folder.config)
    return model


def restore_detector(model: DetectionModel, prefix: Path, config: Path) -> None:
    """Restores all variables of a model from a checkpoint.

    Args:
      model: its variables must exist, see `build_variables`.
      config: the model's configuration, for the message.

    Raises:
      UserError: the checkpoint cannot be read, or belongs to another configuration.
    """
    import tensorflow as tf

    try:
        status = tf.train.Checkpoint(model=model).read(str(prefix))
        status.expect_partial().assert_existing_objects_matched()
    except tf.errors.ResourceExhaustedError:
        raise  # the memory is full
    except (tf.errors.OpError, IndexError) as error:  # IndexError: the file is truncated
        raise _unreadable(prefix) from error
    except (AssertionError, ValueError) as error:
        raise UserError(
            prefix, f"does not belong to {config}", "Train again into a new folder"
        ) from error


def _unreadable(prefix: Path) -> UserError:
    what = "cannot be read: a file is missing or damaged"
    return UserError(prefix, what, "Copy or download the checkpoint again")
