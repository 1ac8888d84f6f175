"""A run's best checkpoint -> a folder with SavedModel, TFLite variants and label files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tfod.dataset.label_map import read_label_map
from tfod.dataset.records import read_records
from tfod.detection.detector import detector_of
from tfod.errors import UserError
from tfod.export.parity import Reference, measure_parity
from tfod.export.tflite_converter import (
    FAST,
    INT8,
    REGULAR,
    VARIANTS,
    convert_to_tflite,
    convertible,
    loses_a_class,
)
from tfod.export.tflite_metadata import pack_tflite
from tfod.files import refuse_existing, replacing_folder
from tfod.images import load_rgb
from tfod.model.checkpoint import restore_for_inference
from tfod.model.detection_function import detection_function
from tfod.model.export_folder import ExportFolder
from tfod.model.pipeline import read_pipeline, set_input_size, write_pipeline
from tfod.model.run_folder import RunFolder
from tfod.progress import Progress, silent
from tfod.quiet import native_chatter_held

if TYPE_CHECKING:
    import numpy as np
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig
    from object_detection.protos.post_processing_pb2 import BatchNonMaxSuppression

REPRESENTATIVE = 200  # training pictures from which int8 takes the range of each activation
UNJUDGED_THRESHOLD = 0.5  # the score from which on a model that was never judged shows boxes


def export(
    run: Path,
    output: Path,
    overwrite: bool = False,
    input_size: int | None = None,
    tflite: Sequence[str] | None = None,
    nms: str | None = None,
    progress: Progress = silent,
    on_note: Callable[[str], None] = lambda note: None,
) -> Path:
    """Exports a run's best checkpoint on the val split, or its newest where there is none.

    The folder is laid out as a model-zoo archive, with more beside: checkpoint/ckpt-0,
    saved_model/ (OD API signature: `input_tensor` uint8 `[1, H, W, 3]` in, `detection_boxes`,
    `detection_scores`, `detection_classes`, `num_detections`, … out), pipeline.config,
    label_map.pbtxt, labels.txt (line N is class id N), the run's metrics.json if it was
    evaluated, and model.tflite (float32), model_float16.tflite, model_dynamic.tflite and, of SSD
    models, model_int8.tflite, each with its metadata inside. parity.csv says how
    near each comes to the checkpoint on 50 pictures of the val split, how large and how fast it is
    (`parity.measure_parity`).

    int8 takes training pictures to see what values occur, and parity.csv validation pictures, both
    from the data set the run was trained on.

    Args:
      run: a folder that train wrote.
      output: the folder to write; appears when complete.
      overwrite: replace a folder that is there.
      input_size: pixels to resize pictures to, see `pipeline.set_input_size`; None for what the
        run was trained at.
      tflite: variants to write, of `tflite_export.VARIANTS`; None for all that can be.
      nms: how `.tflite` files suppress boxes that overlap, of `tflite_export.SUPPRESSIONS`. None
        for what costs no accuracy: `fast` where the config suppresses across classes, or where AP50
        on those pictures is not lower by more than 0.005 with it; else `regular`.
      progress: called with the stages "convert" and "compare", and files.
      on_note: called with what is to be known: what could not be made and why, how to run it.

    Returns:
      `output`.

    Raises:
      UserError: there is no run or no checkpoint in it, or `output` exists; or a variant was asked
        for that cannot be made.
    """
    trained = RunFolder(run)
    if not trained.config.is_file():
        raise UserError(run, "is not a run folder", "Name a folder that `tfod train` wrote")
    refuse_existing(output, overwrite)
    pipeline = read_pipeline(trained.config)
    labels = read_label_map(trained.label_map)
    if input_size is not None:
        set_input_size(pipeline, input_size)
    variants = _variants(pipeline, tflite, on_note)
    converted = partial(progress, "convert", total=1 + len(variants))
    converted(0)
    model = restore_for_inference(run, pipeline)
    detect = detection_function(model)
    shards = _shards(pipeline.eval_input_reader[0]) if pipeline.eval_input_reader else []
    reference = None
    if shards and all(shard.is_file() for shard in shards):
        free = _free_choice(pipeline) if variants and nms is None else None
        reference = Reference.of(detector_of(labels, detect), shards, free)
    else:
        name = ExportFolder(output).parity.name
        on_note(f"no {name}: the val split of the run's data set is missing")
    threshold = trained.threshold(default=UNJUDGED_THRESHOLD)
    with replacing_folder(output) as partial_output:
        folder = ExportFolder(partial_output)
        _save_checkpoint_and_saved_model(model, detect, folder)
        converted(1)
        files: list[Path] = []
        nms = nms or _nms(pipeline, reference)
        for variant, given, network in convert_to_tflite(
            model, pipeline, variants, partial(_training_pictures, pipeline), nms
        ):
            one_thread = loses_a_class(pipeline, nms)
            files.append(folder.tflite(variant))
            content = pack_tflite(network, given, labels, threshold, one_thread)
            files[-1].write_bytes(content)
            converted(1 + len(files))
        write_pipeline(pipeline, folder.config)
        shutil.copyfile(trained.label_map, folder.label_map)
        names = "".join(f"{name}\n" for name in labels.values())
        folder.labels.write_text(names, encoding="utf-8")
        if trained.metrics.is_file() and input_size is None:
            shutil.copyfile(trained.metrics, folder.metrics)
        if reference is not None:
            parity = measure_parity(*(reference, [folder.path, *files], threshold), progress)
            parity.to_csv(folder.parity, index=False)
    if files and loses_a_class(pipeline, nms):
        on_note(
            "the .tflite files suppress boxes within a class, as the config says: run them in "
            "MediaPipe, or with one thread of LiteRT's, which forgets a class with more"
        )
    return output


def _variants(
    pipeline: TrainEvalPipelineConfig,
    asked: Sequence[str] | None,
    on_note: Callable[[str], None],
) -> list[str]:
    if not convertible(pipeline):
        if asked:
            raise UserError("--tflite", "wants pictures of one size", "Set one in the config")
        on_note("no .tflite: the config's resizer gives pictures of many sizes")
        return []
    wanted = list(asked or VARIANTS)
    if pipeline.model.HasField("faster_rcnn") and INT8 in wanted:
        if asked:
            raise UserError("--tflite int8", "is for SSD models", "Take float16 or dynamic")
        wanted.remove(INT8)
    shards = _shards(pipeline.train_input_reader)
    missing = next((shard for shard in shards if not shard.is_file()), None)
    if missing and INT8 in wanted:
        if asked:
            raise UserError(missing, "is not there, and int8 takes pictures from it", "Put it back")
        on_note("no int8: the pictures the run was trained on are not there")
        wanted.remove(INT8)
    return wanted


def _nms(pipeline: TrainEvalPipelineConfig, reference: Reference | None) -> str:
    """The suppression that costs no accuracy, the faster one where both do."""
    if _free_choice(pipeline) is None:
        return FAST
    return FAST if reference is not None and reference.allows_fast() else REGULAR


def _free_choice(pipeline: TrainEvalPipelineConfig) -> BatchNonMaxSuppression | None:
    """The suppression of a config that leaves a `.tflite` a choice: SSD, within a class."""
    if not pipeline.model.HasField("ssd"):
        return None
    suppression = pipeline.model.ssd.post_processing.batch_non_max_suppression
    return None if suppression.use_class_agnostic_nms else suppression


def _shards(reader) -> list[Path]:
    return [Path(path) for path in reader.tf_record_input_reader.input_path]


def _training_pictures(pipeline: TrainEvalPipelineConfig) -> Iterator[np.ndarray]:
    records = read_records(_shards(pipeline.train_input_reader))
    return (load_rgb(record.image.data) for record in islice(records, REPRESENTATIVE))


def _save_checkpoint_and_saved_model(model, detect, folder: ExportFolder) -> None:
    import tensorflow as tf

    checkpoint = tf.train.Checkpoint(model=model)
    tf.train.CheckpointManager(checkpoint, str(folder.checkpoint.parent), max_to_keep=1).save(0)
    signature = detect.get_concrete_function()
    module = tf.Module()
    # Its variables and no more: Keras layers would each be traced once more to be saved.
    module.variables_used = list(signature.graph.variables)
    module.__call__ = detect
    with native_chatter_held():
        tf.saved_model.save(module, str(folder.saved_model), signatures=signature)
