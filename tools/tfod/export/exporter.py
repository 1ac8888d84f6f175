"""Exports the best checkpoint of a run: SavedModel, TFLite variants, ONNX and label files."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tfod.dataset.label_map import label_lines, read_label_map
from tfod.dataset.records import read_records
from tfod.detection.detector import detector_of
from tfod.errors import UserError
from tfod.export.onnx_converter import check_packages, convert_to_onnx
from tfod.export.parity import Reference, measure_parity
from tfod.export.tflite_converter import (
    BOXES,
    FAST,
    INT8,
    RAW,
    REGULAR,
    VARIANTS,
    convert_to_tflite,
    describe_post_processing,
    has_fixed_size,
    is_supported,
    needs_one_thread,
)
from tfod.export.tflite_metadata import pack_tflite
from tfod.export.tflite_operations import count_operations
from tfod.files import replacing_folder
from tfod.images import load_rgb
from tfod.model.checkpoint import restore_for_inference
from tfod.model.detection_file import DEFAULT_THRESHOLD, write_detection
from tfod.model.detection_function import detection_function
from tfod.model.export_folder import EXPORT, ExportFolder
from tfod.model.pipeline import read_pipeline, set_input_size, write_pipeline
from tfod.model.run_folder import RunFolder
from tfod.progress import Progress, silent
from tfod.quiet import hide_native_logs
from tfod.upstream.mediapipe_metadata import import_metadata_modules

if TYPE_CHECKING:
    import numpy as np
    from object_detection.protos.input_reader_pb2 import InputReader
    from object_detection.protos.pipeline_pb2 import TrainEvalPipelineConfig
    from object_detection.protos.post_processing_pb2 import BatchNonMaxSuppression

    from tfod.detection.tflite_input import TFLiteInput

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CALIBRATION_IMAGES = 200  # training images that give the activation ranges for int8


def export(
    run: Path,
    output: Path,
    overwrite: bool = False,
    input_size: int | None = None,
    tflite: Sequence[str] | None = None,
    nms: str | None = None,
    outputs: str = BOXES,
    onnx: bool = False,
    progress: Progress = silent,
    on_note: Callable[[str], None] = lambda note: None,
) -> Path:
    """Exports the checkpoint of a run with the best AP on the val split; the newest if none was
    evaluated.

    The folder has the layout of a model zoo archive, plus files for TFLite:
      checkpoint/ckpt-0, pipeline.config: to continue training.
      saved_model/: with the OD API signature. Input: `input_tensor` uint8 `[1, H, W, 3]` RGB.
        Outputs: `detection_boxes` (ymin, xmin, ymax, xmax, normalized), `detection_scores`,
        `detection_classes`, `num_detections` and more.
      label_map.pbtxt, labels.txt: class names; line N of labels.txt is class id N.
      metrics.json: the metrics of `tfod evaluate`, if it evaluated the run and `input_size` is
        None.
      model.tflite (float32), model_float16.tflite, model_dynamic.tflite, and for SSD models
        model_int8.tflite: each contains its metadata.
      model.onnx, with `onnx`: the SavedModel for ONNX Runtime, with labels and threshold.
      operations.csv: the operations of each `.tflite`, see `tflite_operations`.
      parity.csv: difference from the checkpoint, size and speed of each model on 50 images of the
        val split, see `parity.measure_parity`.

    int8 is calibrated on images of the train split. Without the data set of the run there is no
    int8 and no parity.csv.

    Args:
      run: a folder written by `tfod train`.
      output: the folder to write; appears when complete.
      overwrite: replace an existing folder.
      input_size: input size in pixels, see `pipeline.set_input_size`; None for the one in
        `detection.json`, or the training size.
      tflite: variants to write, from `tflite_converter.VARIANTS`; empty for none; None for all
        that the model supports.
      nms: non-maximum suppression in `.tflite` files, from `tflite_converter.SUPPRESSIONS`. None
        selects `fast` if the config suppresses across classes, or if AP50 on the 50 images drops
        by at most 0.005; otherwise `regular`.
      outputs: of `.tflite` files, from `tflite_converter.OUTPUTS`: `boxes`, or `raw` for files
        without post-processing, see `detection.raw_outputs`.
      onnx: also write `model.onnx`.
      progress: called with the stages "converting" and "comparing"; counts models.
      on_note: called with notes for the user: which file is skipped and why, how to run a file.

    Returns:
      `output`.

    Raises:
      UserError: `run` is not a run folder or has no checkpoint; `output` exists, or contains
        `run`; a variant in `tflite` or ONNX is not possible; or its packages are missing.
    """
    source = RunFolder(run)
    if not source.is_run:
        raise UserError(run, "is not a run folder", "Give a folder written by `tfod train`")
    with (
        replacing_folder(output, overwrite, check_old=EXPORT.check, inputs=[run]) as partial_output,
        _full_disk_as_os_error(),
    ):
        folder = ExportFolder(partial_output)
        _export(source, folder, input_size, tflite, nms, outputs, onnx, progress, on_note)
    return output


def _export(
    source: RunFolder,
    folder: ExportFolder,
    input_size: int | None,
    tflite: Sequence[str] | None,
    nms: str | None,
    outputs: str,
    onnx: bool,
    progress: Progress,
    on_note: Callable[[str], None],
) -> None:
    """Writes the files of `export` into an empty folder."""
    pipeline = read_pipeline(source.config)
    labels = read_label_map(source.label_map)
    if size := input_size or source.detection_size():
        set_input_size(pipeline, size)
    variants = _choose_variants(pipeline, tflite, on_note)
    if outputs == RAW and not pipeline.model.HasField("ssd"):
        raise UserError("--outputs", "raw is for SSD models only", "Leave it out")
    if onnx:
        check_packages()
    if variants:
        import_metadata_modules()  # before the conversion, which takes minutes
    models = 1 + len(variants) + onnx
    progress("converting", 0, models)
    model = restore_for_inference(source.path, pipeline)
    detect = detection_function(model)
    shards = _shards(pipeline.eval_input_reader[0]) if pipeline.eval_input_reader else []
    reference = None
    if shards and all(shard.is_file() for shard in shards):
        class_wise = _class_wise_suppression(pipeline) if variants and nms is None else None
        reference = Reference.from_checkpoint(detector_of(labels, detect), shards, class_wise)
    else:
        on_note(f"no {folder.parity.name}: the val split of the run's data set is missing")
    best = source.threshold()
    threshold = DEFAULT_THRESHOLD if best is None else best
    suppression = nms or _choose_suppression(pipeline, reference)
    one_thread = outputs == BOXES and needs_one_thread(pipeline, suppression)
    post_processing = None
    if outputs == RAW:
        post_processing = describe_post_processing(model, pipeline, suppression)
    _save_checkpoint_and_saved_model(model, detect, folder)
    progress("converting", 1, models)
    files: list[Path] = []
    if onnx:
        files.append(folder.onnx)
        files[-1].write_bytes(convert_to_onnx(detect, labels, threshold, source.tiles()))
        progress("converting", 2, models)
    networks = convert_to_tflite(
        model, pipeline, variants, partial(_calibration_images, pipeline), suppression, outputs
    )
    pack = partial(
        pack_tflite,
        labels=labels,
        threshold=threshold,
        one_thread=one_thread,
        post_processing=post_processing,
        tiles=source.tiles(),
    )
    for file in _write_tflite_files(folder, networks, pack):
        files.append(file)
        progress("converting", 1 + len(files), models)
    write_pipeline(pipeline, folder.config)
    _write_labels(source, folder, labels)
    if source.metrics.is_file() and input_size is None:
        shutil.copyfile(source.metrics, folder.metrics)
    if reference is not None:
        parity = measure_parity(reference, [folder.path, *files], threshold, progress)
        parity.to_csv(folder.parity, index=False)
    if variants and one_thread:
        on_note(
            "the .tflite files suppress boxes within each class, as in the config: run them with "
            "MediaPipe, or with LiteRT on one thread; on more threads LiteRT never reports one of "
            "the classes"
        )


def _write_tflite_files(
    folder: ExportFolder,
    networks: Iterable[tuple[str, TFLiteInput, bytes]],
    pack: Callable[[bytes, TFLiteInput], bytes],
) -> Iterator[Path]:
    """Writes converted networks and the table of their operations. Yields each file."""
    rows = []
    for variant, input_spec, network in networks:
        file = folder.tflite(variant)
        file.write_bytes(pack(network, input_spec))
        rows += [(file.name, *row) for row in count_operations(network).items()]
        yield file
    if rows:
        table = pd.DataFrame(rows, columns=["model", "operation", "count"])
        table.to_csv(folder.operations, index=False)


def _write_labels(source: RunFolder, folder: ExportFolder, labels: dict[int, str]) -> None:
    """Writes class names, and how to detect."""
    shutil.copyfile(source.label_map, folder.label_map)
    names = "".join(f"{name}\n" for name in label_lines(labels))
    folder.labels.write_text(names, encoding="utf-8")
    threshold, tiles = source.threshold(), source.tiles()
    if threshold is not None or tiles is not None:
        write_detection(folder.detection, tiles, threshold=threshold)


@contextmanager
def _full_disk_as_os_error() -> Iterator[None]:
    """Raises an OSError for TensorFlow's error of a full disk."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        for number in DISK_FULL:
            if os.strerror(number) in error.message:
                raise OSError(number, os.strerror(number)) from error
        raise


def _choose_variants(
    pipeline: TrainEvalPipelineConfig,
    requested: Sequence[str] | None,
    on_note: Callable[[str], None],
) -> list[str]:
    """Returns the variants to write. Raises an error if a requested one is not possible."""
    if not is_supported(pipeline):
        if requested:
            what = f"cannot convert a model of the type {pipeline.model.WhichOneof('model')}"
            raise UserError("--tflite", what, "Leave it out")
        on_note("no .tflite: only SSD and Faster R-CNN models can be converted")
        return []
    if not has_fixed_size(pipeline):
        if requested:
            raise UserError(
                "--tflite",
                "needs a fixed input size, and the config does not set one",
                "Train with a fixed_shape_resizer",
            )
        on_note("no .tflite: the image resizer of the config does not give a fixed input size")
        return []
    variants = list(VARIANTS if requested is None else requested)
    if pipeline.model.HasField("faster_rcnn") and INT8 in variants:
        if requested:
            raise UserError(
                "--tflite int8", "is for SSD models only", "Use float32, float16 or dynamic"
            )
        variants.remove(INT8)
    shards = _shards(pipeline.train_input_reader)
    missing = next((shard for shard in shards if not shard.is_file()), None)
    if missing and INT8 in variants:
        if requested:
            raise UserError(
                missing,
                "is missing, and int8 needs its images for calibration",
                "Restore it, or leave out int8",
            )
        on_note("no int8: the train split of the run's data set is missing")
        variants.remove(INT8)
    return variants


def _choose_suppression(pipeline: TrainEvalPipelineConfig, reference: Reference | None) -> str:
    """Returns the fastest non-maximum suppression that does not reduce accuracy."""
    if _class_wise_suppression(pipeline) is None:
        return FAST
    return FAST if reference is not None and reference.allows_fast() else REGULAR


def _class_wise_suppression(pipeline: TrainEvalPipelineConfig) -> BatchNonMaxSuppression | None:
    """Returns the suppression of an SSD config if it works within each class, otherwise None.

    Only such a config leaves a choice between `regular` and `fast`.
    """
    if not pipeline.model.HasField("ssd"):
        return None
    suppression = pipeline.model.ssd.post_processing.batch_non_max_suppression
    return None if suppression.use_class_agnostic_nms else suppression


def _shards(reader: InputReader) -> list[Path]:
    return [Path(path) for path in reader.tf_record_input_reader.input_path]


def _calibration_images(pipeline: TrainEvalPipelineConfig) -> Iterator[np.ndarray]:
    records = read_records(_shards(pipeline.train_input_reader))
    return (load_rgb(record.image.data) for record in islice(records, CALIBRATION_IMAGES))


def _save_checkpoint_and_saved_model(model, detect, folder: ExportFolder) -> None:
    import tensorflow as tf

    checkpoint = tf.train.Checkpoint(model=model)
    tf.train.CheckpointManager(checkpoint, str(folder.checkpoint.parent), max_to_keep=1).save(0)
    signature = detect.get_concrete_function()
    module = tf.Module()
    # Only the variables: Keras layers would be traced again to be saved.
    module.variables_used = list(signature.graph.variables)
    module.__call__ = detect
    with hide_native_logs():
        tf.saved_model.save(module, str(folder.saved_model), signatures=signature)
