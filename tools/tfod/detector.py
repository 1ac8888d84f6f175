"""Detector: loads what export wrote (or a run's checkpoint) and finds objects in pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfod.checkpoint import restore_for_inference
from tfod.dataset import LABEL_MAP, read_label_map
from tfod.detections import Detections, detections_from_outputs
from tfod.errors import UserError
from tfod.images import load_rgb
from tfod.pipeline import CONFIG_NAME, read_pipeline, set_input_size
from tfod.tflite import load_tflite

SAVED_MODEL = "saved_model"

# uint8 [H, W, 3] RGB -> boxes [N, 4], scores [N], class ids [N] of the model's own output
Model = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Detector:
    """Finds objects in pictures.

        detector = Detector.load("exported_models/signs")
        detections = detector.predict("street.jpg").above(0.5)

    Attributes:
      labels: label map, id to name.
      model: the loaded network.
      decode: turns the bytes of a training record into pixels, uint8 `[H, W, 3]`. Where TensorFlow
        runs the model it is the decoder of training: another's pixels differ by 1 here and there.
    """

    labels: dict[int, str]
    model: Model
    decode: Callable[[bytes], np.ndarray] = load_rgb

    @classmethod
    def load(cls, path: str | Path, input_size: int | None = None) -> Detector:
        """Loads an export folder (its SavedModel), a `.tflite` file, or a run folder.

        Of a run folder it takes the best checkpoint.

        Args:
          input_size: pixels, for a run: resize pictures to this in place of what it was trained
            at. Exports have theirs.

        Raises:
          UserError: there is no model, or it is damaged, or its label map is missing; or
            `input_size` is given for an export.
        """
        path = Path(path)
        is_run = (path / CONFIG_NAME).is_file() and not (path / SAVED_MODEL).is_dir()
        if input_size is not None and not is_run:
            raise UserError(path, "is no run", "Give --input-size with a run, or to tfod export")
        if path.suffix == ".tflite":
            return cls(_read_labels(path.parent), load_tflite(path))
        if (path / SAVED_MODEL / "saved_model.pb").is_file():
            return cls(_read_labels(path), _load_saved_model(path / SAVED_MODEL), _decode)
        if is_run:
            pipeline = read_pipeline(path / CONFIG_NAME)
            if input_size is not None:
                set_input_size(pipeline, input_size)
            model = restore_for_inference(path, pipeline)
            return cls(_read_labels(path), detection_function(model), _decode)
        raise UserError(
            path,
            "holds no model",
            "Name a folder that `tfod export` or `tfod train` wrote, or a .tflite file",
        )

    def predict(self, image: str | Path | np.ndarray) -> Detections:
        """Finds the objects in one picture.

        Args:
          image: a file (any that Pillow reads, turned as its EXIF orientation says), or a uint8
            array `[H, W, 3]`, RGB.

        Returns:
          Everything the model reports, weak detections too; see `Detections.above`.

        Raises:
          UserError: the file does not decode, or the array is of another shape or dtype.
        """
        pixels = image if isinstance(image, np.ndarray) else load_rgb(Path(image))
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise UserError(
                "image",
                f"is {pixels.dtype} {list(pixels.shape)}",
                "Give uint8 [height, width, 3], RGB",
            )
        return detections_from_outputs(*self.model(pixels), self.labels)


def _read_labels(folder: Path) -> dict[int, str]:
    path = folder / LABEL_MAP
    if not path.is_file():
        raise UserError(path, "is missing", "Keep it beside the model, as export wrote it")
    return read_label_map(path)


def _load_saved_model(folder: Path) -> Model:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(folder, "cannot be loaded as a SavedModel", "Export it again") from error
    # `loaded` owns the variables and must live as long as the function.
    return lambda pixels: _outputs(loaded.signatures["serving_default"](tf.constant(pixels[None])))


def _decode(data: bytes) -> np.ndarray:
    import tensorflow as tf

    return tf.io.decode_image(data, channels=3, expand_animations=False).numpy()


def detection_function(model) -> Model:
    """Detection with an OD API DetectionModel that is set to inference.

    As upstream's `exporter_lib_v2.DetectionFromImageModule`, traced without AutoGraph, which it
    does not need and which takes longer than all else here.
    """
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)], autograph=False)
    def detect(pixels):
        images, true_shapes = model.preprocess(tf.cast(pixels, tf.float32))
        detections = model.postprocess(model.predict(images, true_shapes), true_shapes)
        return {**detections, "detection_classes": detections["detection_classes"] + 1}

    return lambda pixels: _outputs(detect(tf.constant(pixels[None])))


def _outputs(tensors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    names = ("detection_boxes", "detection_scores", "detection_classes")
    boxes, scores, classes = (tensors[name][0].numpy() for name in names)
    return boxes, scores, classes
