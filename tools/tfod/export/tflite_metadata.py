"""Puts class names, normalization and a score to start from into a `.tflite`.

See `detection.tflite_file`, which reads them.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import types
import zipfile
from dataclasses import asdict

from tfod.detection.tflite_file import LABELS, OURS, network_digest
from tfod.detection.tflite_input import TFLiteInput

# The first version of the metadata's schema with groups of output tensors; nothing newer is used.
PARSER_VERSION = "1.2.0"
# What metadata calls the outputs, and what a SavedModel calls them.
MEANINGS = {
    "location": "detection_boxes",
    "category": "detection_classes",
    "score": "detection_scores",
    "number of detections": "num_detections",
}
NATIVE = "mediapipe.tasks.cc.metadata.python._pywrap_metadata_version"


def pack_tflite(
    network: bytes,
    given: TFLiteInput,
    labels: dict[int, str],
    threshold: float,
    one_thread: bool = False,
) -> bytes:
    """A `.tflite` that says itself what it takes and what it finds.

    Args:
      network: what TensorFlow's converter wrote, its outputs named as a SavedModel's.
      given: how pixels become its input; metadata knows one scale and offset for all channels.
      labels: label map, id to name; ids from 1 without a gap, as training wants them.
      threshold: score from which on a detection is worth showing. A hint: MediaPipe Tasks leaves it
        to the app.
      one_thread: it is to be run with one thread.
    """
    from ai_edge_litert.interpreter import Interpreter

    metadata_info, metadata_writer = _mediapipe()
    writer = metadata_writer.MetadataWriter(bytearray(network))
    writer.add_general_info("Object detector", f"Finds: {', '.join(labels.values())}.")
    # Rounded, since 1 / 127.5 as a float32 is not its inverse to the last digit.
    mean, deviation = -given.offset[0] / given.scale[0], 1 / given.scale[0]
    writer.add_image_input([round(mean, 3)], [round(deviation, 3)])
    classes = metadata_writer.Labels().add(list(labels.values()), exported_filename=LABELS)
    writer.add_detection_output(classes)
    names = Interpreter(model_content=network).get_signature_runner().get_output_details()
    for output in writer._output_mds:
        # The writer goes by the order in which the post-processing op has its outputs.
        output.tensor_name = names[MEANINGS[output.name]]["name"]
        if output.name == "score":  # it takes no threshold, as the one for classifiers does
            output.score_thresholding_md = metadata_info.ScoreThresholdingMd(threshold)
    content, _ = writer.populate()
    del writer, output
    gc.collect()  # it deletes its files when it goes, and complains if Python goes first
    ours = {
        "input": asdict(given),
        "threshold": threshold,
        "one_thread": one_thread,
        "sha256": network_digest(content),
    }
    archive = io.BytesIO(content)
    with zipfile.ZipFile(archive, "a") as file:
        # Dated, or two exports of one run would differ.
        file.writestr(zipfile.ZipInfo(OURS, (1980, 1, 1, 0, 0, 0)), json.dumps(ours))
    return archive.getvalue()


def _mediapipe():
    """MediaPipe's writer of metadata, with the native function that its wheels lack since 0.10.30.

    That function says which version of the schema a reader must know.
    """
    if NATIVE not in sys.modules:
        native = types.ModuleType(NATIVE)
        native.GetMinimumMetadataParserVersion = lambda metadata: PARSER_VERSION
        package = NATIVE.rpartition(".")[0]
        while package != "mediapipe.tasks":
            sys.modules.setdefault(package, types.ModuleType(package))
            package = package.rpartition(".")[0]
        sys.modules[NATIVE] = native
        sys.modules[NATIVE.rpartition(".")[0]]._pywrap_metadata_version = native
    from mediapipe.tasks.python.metadata.metadata_writers import metadata_info, metadata_writer

    return metadata_info, metadata_writer
