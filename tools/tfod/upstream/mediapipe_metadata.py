"""Private symbols of MediaPipe's metadata writer.

The tests are in `tests/upstream/test_internals.py`.

| symbol | function |
|---|---|
| `mediapipe.tasks.cc.metadata.python._pywrap_metadata_version` | `import_metadata_modules` |
| `mediapipe_c_bindings.load_raw_library` | `import_metadata_modules` |
| `object_detector.ObjectDetectorOptionsMd` and its parts | `detector_options` |
| `MetadataWriter._output_mds` | `output_metadata` |
"""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence

from tfod.errors import UserError

# The first version of the metadata schema with groups of output tensors. Nothing newer is used.
PARSER_VERSION = "1.2.0"
NATIVE_MODULE = "mediapipe.tasks.cc.metadata.python._pywrap_metadata_version"


def import_metadata_modules() -> tuple[types.ModuleType, types.ModuleType]:
    """Imports MediaPipe's modules `metadata_info` and `metadata_writer` and returns them.

    The writer imports the native module `_pywrap_metadata_version`, which MediaPipe's wheels lack
    since 0.10.30. This adds a replacement. Its only function returns the minimum schema version
    that a reader of the metadata must support.

    Test: `test_mediapipe_metadata_writer_can_be_imported`.

    Raises:
      UserError: MediaPipe's native library cannot be loaded. The writer would load it only in the
        end, and its error would not name a remedy.
    """
    if NATIVE_MODULE not in sys.modules:
        native = types.ModuleType(NATIVE_MODULE)
        vars(native)["GetMinimumMetadataParserVersion"] = lambda metadata: PARSER_VERSION
        parent, _, name = NATIVE_MODULE.rpartition(".")
        package = parent
        while package != "mediapipe.tasks":
            sys.modules.setdefault(package, types.ModuleType(package))
            package = package.rpartition(".")[0]
        sys.modules[NATIVE_MODULE] = native
        vars(sys.modules[parent])[name] = native
    from mediapipe.tasks.python.core import mediapipe_c_bindings
    from mediapipe.tasks.python.metadata.metadata_writers import metadata_info, metadata_writer

    try:
        mediapipe_c_bindings.load_raw_library()
    except OSError as error:
        remedy = "On Debian and Ubuntu: apt install libegl1 libgles2"
        raise UserError("MediaPipe", f"cannot be loaded: {error}", remedy) from error
    return metadata_info, metadata_writer


def detector_options(
    anchors: Sequence[Sequence[float]], scales: Sequence[float], classes: int
) -> object:
    """Returns the metadata with which MediaPipe decodes the raw outputs of an SSD network.

    MediaPipe's own `create_for_models_without_nms` leaves no way to name the output tensors.

    Args:
      anchors: center y, center x, height, width, normalized.
      scales: those of the box coder, for center y, center x, height and width.
      classes: their number.

    Test: `test_mediapipe_metadata_of_raw_outputs`.
    """
    import_metadata_modules()
    from mediapipe.tasks.python.metadata.metadata_writers import object_detector

    fixed = [
        object_detector.FixedAnchor(x_center=x, y_center=y, width=width, height=height)
        for y, x, height, width in anchors
    ]
    y_scale, x_scale, h_scale, w_scale = scales
    return object_detector.ObjectDetectorOptionsMd(
        object_detector.SsdAnchorsOptions(object_detector.FixedAnchorsSchema(fixed)),
        object_detector.TensorsDecodingOptions(
            num_classes=classes,
            num_boxes=len(anchors),
            num_coords=4,
            keypoint_coord_offset=0,
            num_keypoints=0,
            num_values_per_keypoint=2,
            x_scale=x_scale,
            y_scale=y_scale,
            w_scale=w_scale,
            h_scale=h_scale,
            apply_exponential_on_box_size=True,
            sigmoid_score=False,
        ),
    )


def output_metadata(writer) -> list:
    """Returns the `metadata_info.TensorMd` of each output of a `MetadataWriter`.

    The writer for detectors has no parameter for tensor names or a score threshold, so callers
    change them here, before `writer.populate()`.

    Test: `test_mediapipe_metadata_writer_lists_its_outputs`.
    """
    return writer._output_mds
