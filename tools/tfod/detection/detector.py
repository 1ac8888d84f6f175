"""Loads an exported model or a run's checkpoint and detects objects in images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, overload

import numpy as np
from PIL import Image

from tfod.dataset.label_map import read_label_map
from tfod.detection.detections import Detections, detections_in
from tfod.detection.onnx_runtime import load_onnx
from tfod.detection.tflite_file import read_tflite
from tfod.detection.tflite_runtime import load_tflite, load_tflite_for_threads
from tfod.detection.tiling import detect_in_tiles
from tfod.errors import UserError
from tfod.image_files import find_images
from tfod.images import as_rgb, load_rgb
from tfod.model.detection_file import stored_threshold, stored_tiles
from tfod.model.export_folder import ExportFolder
from tfod.model.pipeline import read_pipeline, set_input_size, suppression
from tfod.model.run_folder import RunFolder
from tfod.parallel import threaded_map
from tfod.tiles import Tiles

ImageInput = str | Path | np.ndarray | Image.Image
# uint8 [H, W, 3] RGB -> the model's outputs by the OD API's names, each [1, ...]
Model = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class DetectorSource:
    """Where a detector was loaded from: the arguments of `Detector.load`.

    Another process can load the same detector again.
    """

    path: Path
    input_size: int | None = None
    threads: int | None = None
    nms_iou: float | None = None
    min_score: float | None = None

    def load(self) -> Detector:
        """Loads the detector, see `Detector.load`."""
        options = self.input_size, self.threads, self.nms_iou, self.min_score
        return Detector.load(self.path, *options)

    def files(self) -> list[Path]:
        """Returns the file, or all files in the folder except those that tfod is writing."""
        if not self.path.is_dir():
            return [self.path]
        found = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return [
            self.path / path
            for path in sorted(found)
            if not any(part.endswith(".partial") for part in path.parts)
        ]


@dataclass(frozen=True)
class Detector:
    """Detects objects in images. Several threads may share one detector.

        detector = Detector.load("exported_models/signs")
        detections = detector.predict("street.jpg").above(0.5)

    Attributes:
      labels: label map, id to name.
      model: the loaded network.
      decode: decodes the image bytes of a TFRecord to uint8 `[H, W, 3]` pixels. Models that run in
        TensorFlow use the decoder of training, because another decoder's pixels can differ by 1.
      threaded_model: the same network for several threads at once, if they would wait for each
        other in `model`.
      threshold: the score threshold with the best F1 on the val split; None if unknown.
      tiles: how `predict` cuts images, as the training data was cut; None for whole images.
      source: where it was loaded from; None if it was made in another way.
    """

    labels: dict[int, str]
    model: Model
    decode: Callable[[bytes], np.ndarray] = load_rgb
    threaded_model: Model | None = None
    threshold: float | None = None
    tiles: Tiles | None = None
    source: DetectorSource | None = None

    @classmethod
    def load(
        cls,
        path: str | Path,
        input_size: int | None = None,
        threads: int | None = None,
        nms_iou: float | None = None,
        min_score: float | None = None,
    ) -> Detector:
        """Loads an export folder (its SavedModel), a `.tflite` or `.onnx` file, or a run folder.

        A run folder gives its best checkpoint. A `.tflite` and a `.onnx` need neither TensorFlow
        nor any other file.

        Args:
          input_size: pixels, for a run only: resize images to this size; None for the one in
            `detection.json`, or the training size. Exports have a fixed size.
          threads: for a `.tflite` or `.onnx`: number of threads for inference; None for one per
            core, of a `.tflite` up to four.
          nms_iou, min_score: for a run only: IoU above which non-maximum suppression removes the
            box with the lower score, and the score below which it removes all; None for those in
            pipeline.config.

        Raises:
          UserError: the model does not exist, is corrupt, or has no label map; an option for a run
            is given for an export; or the model has no non-maximum suppression to change.
        """
        source = DetectorSource(Path(path), input_size, threads, nms_iou, min_score)
        return replace(cls._load(source), source=source)

    @classmethod
    def _load(cls, source: DetectorSource) -> Detector:
        path, nms_iou, min_score = source.path, source.nms_iou, source.min_score
        run, export = RunFolder(path), ExportFolder(path)
        if not run.is_run:
            if source.input_size is not None:
                remedy = "Give --input-size with a run, or to tfod export"
                raise UserError(path, "is not a run folder", remedy)
            if nms_iou is not None or min_score is not None:
                remedy = "Give --nms-iou and --min-score with a run; in an export they are fixed"
                raise UserError(path, "is not a run folder", remedy)
        if path.suffix == ".tflite":
            file = read_tflite(path)
            model = load_tflite(file, source.threads)
            threaded = load_tflite_for_threads(file)
            return cls(file.labels, model, load_rgb, threaded, file.threshold, file.tiles)
        if path.suffix == ".onnx":
            onnx = load_onnx(path, source.threads)
            return cls(onnx.labels, onnx.model, threshold=onnx.threshold, tiles=onnx.tiles)
        if (export.saved_model / "saved_model.pb").is_file():
            threshold, tiles = stored_threshold(export.detection), stored_tiles(export.detection)
            saved_model = _load_saved_model(export.saved_model)
            return detector_of(_read_labels(export.label_map), saved_model, threshold, tiles)
        if run.is_run:
            size = source.input_size or run.detection_size()
            model = _load_run(run, size, nms_iou, min_score)
            return detector_of(_read_labels(run.label_map), model, run.threshold(), run.tiles())
        raise UserError(
            path,
            "does not contain a model",
            "Give a folder written by `tfod export` or `tfod train`, or a .tflite or .onnx file",
        )

    @overload
    def predict(self, image: ImageInput, raw: Literal[False] = False) -> Detections: ...

    @overload
    def predict(self, image: ImageInput, raw: Literal[True]) -> dict[str, np.ndarray]: ...

    def predict(self, image: ImageInput, raw: bool = False) -> Detections | dict[str, np.ndarray]:
        """Detects the objects in one image.

        Args:
          image: a file in any format that Pillow reads, rotated according to its EXIF orientation;
            a Pillow image; or a uint8 or uint16 array: `[H, W]` gray, `[H, W, 3]` RGB,
            `[H, W, 4]` RGBA, or one of these as a batch of one image, `[1, H, W, C]`.
          raw: return the outputs of the model for the whole image, unchanged.

        Returns:
          All detections that the model reports, including low scores; see `Detections.above`. If
          `raw`, float32 arrays by the OD API's names. A SavedModel, a `.onnx` and a run return
          `detection_boxes` `[N, 4]` (ymin, xmin, ymax, xmax, normalized), `detection_scores` `[N]`,
          `detection_classes` `[N]` as in the label map, `num_detections` `[]`,
          `detection_multiclass_scores`, `raw_detection_boxes`, `raw_detection_scores` and more; a
          `.tflite` returns the first four.

        Raises:
          UserError: the file cannot be decoded, or the array has another shape or dtype.
        """
        pixels = _pixels(image)
        if raw:
            return self._run(pixels)
        if self.tiles is None:
            return self._detect(pixels)
        return detect_in_tiles(self._detect, pixels, self.tiles, self.labels)

    def predict_all(
        self, images: str | Path | np.ndarray | Iterable[ImageInput]
    ) -> Iterator[Detections]:
        """Detects the objects in many images, several in parallel.

        Args:
          images: a folder, searched recursively in the order of names; a batch `[B, H, W, C]`; or
            any iterable of what `predict` accepts, which is read lazily.

        Yields:
          The detections of each image, in the same order.

        Raises:
          UserError: as `predict`; or the folder contains no images.
        """
        if isinstance(images, str | Path):
            images = find_images([Path(images)])
        yield from threaded_map(self.for_threads().predict, images)

    def _run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value[0] for name, value in self.model(pixels).items()}

    def _detect(self, pixels: np.ndarray) -> Detections:
        return detections_in(self._run(pixels), self.labels)

    def for_threads(self) -> Detector:
        """Returns this detector, optimized for several threads at once instead of for one."""
        return replace(self, model=self.threaded_model or self.model)


def detector_of(
    labels: dict[int, str],
    detect: Callable,
    threshold: float | None = None,
    tiles: Tiles | None = None,
) -> Detector:
    """Wraps a `model.detection_function` or a SavedModel's signature as a Detector."""
    import tensorflow as tf

    def model(pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in detect(tf.constant(pixels[None])).items()}

    return Detector(labels, model, _decode, threshold=threshold, tiles=tiles)


def _pixels(image: ImageInput) -> np.ndarray:
    if isinstance(image, str | Path):
        return load_rgb(Path(image))
    if isinstance(image, np.ndarray) and image.ndim == 4 and len(image) == 1:
        return as_rgb(image[0])
    return as_rgb(image)


def _read_labels(path: Path) -> dict[int, str]:
    if not path.is_file():
        raise UserError(path, "is missing", "Copy label_map.pbtxt of its data set into this folder")
    return read_label_map(path)


def _load_saved_model(folder: Path) -> Callable:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["serving_default"]
    except tf.errors.ResourceExhaustedError:
        raise  # the memory is full
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise UserError(folder, "cannot be loaded as a SavedModel", "Export it again") from error
    # `loaded` owns the variables and must live as long as the function.
    return lambda pixels: loaded and signature(pixels)


def _load_run(
    run: RunFolder, input_size: int | None, nms_iou: float | None, min_score: float | None
) -> Callable:
    from tfod.model.checkpoint import restore_for_inference
    from tfod.model.detection_function import detection_function

    pipeline = read_pipeline(run.config)
    if input_size is not None:
        set_input_size(pipeline, input_size)
    if nms_iou is not None or min_score is not None:
        settings = suppression(pipeline)
        if settings is None:
            remedy = "Leave out --nms-iou and --min-score"
            raise UserError(run.config, "its model has no non-maximum suppression", remedy)
        settings.iou_threshold = settings.iou_threshold if nms_iou is None else nms_iou
        settings.score_threshold = settings.score_threshold if min_score is None else min_score
    detect = detection_function(restore_for_inference(run.path, pipeline))
    # `predict_all` calls it in one thread per core. Each would trace it, if it were not traced yet.
    detect.get_concrete_function()
    return detect


def _decode(data: bytes) -> np.ndarray:
    import tensorflow as tf

    return tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
