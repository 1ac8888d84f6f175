"""Detector: loads what export wrote (or a run's checkpoint) and finds objects in pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from tfod.dataset.label_map import read_label_map
from tfod.detection.detections import Detections, detections_in
from tfod.detection.tflite_file import read_tflite
from tfod.detection.tflite_runtime import load_tflite, load_tflite_for_many
from tfod.errors import UserError
from tfod.image_files import find_images
from tfod.images import as_rgb, load_rgb
from tfod.model.export_folder import ExportFolder
from tfod.model.pipeline import read_pipeline, set_input_size
from tfod.model.run_folder import RunFolder
from tfod.parallel import threaded_map

Picture = str | Path | np.ndarray | Image.Image
# uint8 [H, W, 3] RGB -> the model's outputs by the OD API's names, each [1, ...]
Model = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Detector:
    """Finds objects in pictures. Threads may share one.

        detector = Detector.load("exported_models/signs")
        detections = detector.predict("street.jpg").above(0.5)

    Attributes:
      labels: label map, id to name.
      model: the loaded network.
      decode: turns the bytes of a training record into pixels, uint8 `[H, W, 3]`. Where TensorFlow
        runs the model it is the decoder of training: another's pixels differ by 1 here and there.
      model_for_many: the same network for several threads at a time, where `model` has them wait.
    """

    labels: dict[int, str]
    model: Model
    decode: Callable[[bytes], np.ndarray] = load_rgb
    model_for_many: Model | None = None

    @classmethod
    def load(
        cls, path: str | Path, input_size: int | None = None, threads: int | None = None
    ) -> Detector:
        """Loads an export folder (its SavedModel), a `.tflite` file, or a run folder.

        Of a run folder it takes the best checkpoint. A `.tflite` needs no TensorFlow and no other
        file.

        Args:
          input_size: pixels, for a run: resize pictures to this in place of what it was trained
            at. Exports have theirs.
          threads: for a `.tflite`: how many it computes with; None for one a core, up to four.

        Raises:
          UserError: there is no model, or it is damaged, or its label map is missing; or
            `input_size` is given for an export.
        """
        path = Path(path)
        run, export = RunFolder(path), ExportFolder(path)
        if input_size is not None and not run.is_run:
            raise UserError(path, "is no run", "Give --input-size with a run, or to tfod export")
        if path.suffix == ".tflite":
            file = read_tflite(path)
            model = load_tflite(file, threads)
            return cls(file.labels, model, model_for_many=load_tflite_for_many(file))
        if (export.saved_model / "saved_model.pb").is_file():
            return detector_of(
                _read_labels(export.label_map), _load_saved_model(export.saved_model)
            )
        if run.is_run:
            return detector_of(_read_labels(run.label_map), _load_run(run, input_size))
        raise UserError(
            path,
            "holds no model",
            "Name a folder that `tfod export` or `tfod train` wrote, or a .tflite file",
        )

    def predict(self, image: Picture, raw: bool = False) -> Detections | dict[str, np.ndarray]:
        """Finds the objects in one picture.

        Args:
          image: a file (any that Pillow reads, turned as its EXIF orientation says), a Pillow
            image, or an array: uint8 or uint16, `[H, W]` gray, `[H, W, 3]` RGB or `[H, W, 4]`
            RGBA.
          raw: the model's own outputs instead.

        Returns:
          Everything the model reports, weak detections too; see `Detections.above`. If `raw`,
          float32 arrays by the OD API's names: of a SavedModel and a run `detection_boxes`
          `[N, 4]` (ymin, xmin, ymax, xmax, normalized), `detection_scores` `[N]`,
          `detection_classes` `[N]` as in the label map, `num_detections` `[]`,
          `detection_multiclass_scores`, `raw_detection_boxes`, `raw_detection_scores` and more;
          of a `.tflite` the first four.

        Raises:
          UserError: the file does not decode, or the array is of another shape or dtype.
        """
        outputs = {name: value[0] for name, value in self.model(_pixels(image)).items()}
        return outputs if raw else detections_in(outputs, self.labels)

    def predict_all(
        self, images: str | Path | np.ndarray | Iterable[Picture]
    ) -> Iterator[Detections]:
        """Finds the objects in many pictures, several at a time.

        Args:
          images: a folder, searched through in the order of names; a batch, `[B, H, W, C]`; or
            any iterable of what `predict` takes. It is read as results are asked for.

        Yields:
          As `predict`, in the same order.

        Raises:
          UserError: as `predict`; or the folder holds no picture.
        """
        if isinstance(images, str | Path):
            images = find_images([Path(images)])
        yield from threaded_map(self.for_many().predict, images)

    def for_many(self) -> Detector:
        """The same detector, quicker where several threads use it and slower where one does."""
        return replace(self, model=self.model_for_many or self.model)


def detector_of(labels: dict[int, str], detect) -> Detector:
    """A Detector around an `inference.detection_function` or a SavedModel's signature."""
    import tensorflow as tf

    def model(pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in detect(tf.constant(pixels[None])).items()}

    return Detector(labels, model, _decode)


def _pixels(image: Picture) -> np.ndarray:
    return load_rgb(Path(image)) if isinstance(image, str | Path) else as_rgb(image)


def _read_labels(path: Path) -> dict[int, str]:
    if not path.is_file():
        raise UserError(path, "is missing", "Keep it beside the model, as export wrote it")
    return read_label_map(path)


def _load_saved_model(folder: Path):
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["serving_default"]
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise UserError(folder, "cannot be loaded as a SavedModel", "Export it again") from error
    # `loaded` owns the variables and must live as long as the function.
    return lambda pixels: loaded and signature(pixels)


def _load_run(run: RunFolder, input_size: int | None):
    from tfod.model.checkpoint import restore_for_inference
    from tfod.model.detection_function import detection_function

    pipeline = read_pipeline(run.config)
    if input_size is not None:
        set_input_size(pipeline, input_size)
    return detection_function(restore_for_inference(run.path, pipeline))


def _decode(data: bytes) -> np.ndarray:
    import tensorflow as tf

    return tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
