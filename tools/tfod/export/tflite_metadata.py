"""Writes class names, normalization and a recommended score threshold into a `.tflite`.

`detection.tflite_file` reads them.
"""

from __future__ import annotations

import gc
import io
import json
import zipfile
from dataclasses import asdict

from tfod.dataset.label_map import label_lines
from tfod.detection.raw_outputs import ENCODINGS, SCORES, PostProcessing
from tfod.detection.tflite_file import ANCHORS, LABELS, TFOD_DATA, network_digest
from tfod.detection.tflite_input import TFLiteInput
from tfod.tiles import Tiles
from tfod.upstream.mediapipe_metadata import (
    detector_options,
    import_metadata_modules,
    output_metadata,
)

# Names of the outputs in the metadata, and in a SavedModel.
OUTPUT_NAMES = {
    "location": "detection_boxes",
    "category": "detection_classes",
    "score": "detection_scores",
    "number of detections": "num_detections",
}
RAW_OUTPUT_NAMES = {"location": ENCODINGS, "score": SCORES}


def pack_tflite(
    network: bytes,
    input_spec: TFLiteInput,
    labels: dict[int, str],
    threshold: float,
    one_thread: bool = False,
    post_processing: PostProcessing | None = None,
    tiles: Tiles | None = None,
) -> bytes:
    """Adds metadata to a `.tflite`, so that it needs no other file.

    Args:
      network: output of TensorFlow's converter, with output names as in a SavedModel.
      input_spec: resize and normalization. The metadata has one scale and offset for all channels.
      labels: label map, id to name.
      threshold: recommended score threshold for display. MediaPipe Tasks ignores it; the app sets
        its own.
      one_thread: LiteRT must run the file with one thread, see `tflite_converter.SUPPRESSIONS`.
      post_processing: what `Detector` and MediaPipe must do with the outputs of the network; None
        if the network does it.
      tiles: how `Detector` cuts images. MediaPipe ignores it.

    Returns:
      The content of the `.tflite` file.
    """
    from ai_edge_litert.interpreter import Interpreter

    metadata_info, metadata_writer = import_metadata_modules()
    writer = metadata_writer.MetadataWriter(bytearray(network))
    writer.add_general_info("Object detector", f"Finds: {', '.join(labels.values())}.")
    # Rounded, because the inverse of 1 / 127.5 in float32 is not exactly 127.5.
    mean, deviation = -input_spec.offset[0] / input_spec.scale[0], 1 / input_spec.scale[0]
    writer.add_image_input([round(mean, 3)], [round(deviation, 3)])
    classes = metadata_writer.Labels().add(label_lines(labels), exported_filename=LABELS)
    if post_processing is None:
        writer.add_detection_output(classes)
    else:
        order = metadata_info.RawDetectionOutputTensorsOrder.LOCATION_SCORE
        writer.add_raw_detection_output(classes, output_tensors_order=order)
        anchors, scales = post_processing.anchors.tolist(), post_processing.scales
        writer.add_custom_metadata(detector_options(anchors, scales, len(labels)))
    tensors = Interpreter(model_content=network).get_signature_runner().get_output_details()
    for output in output_metadata(writer):
        # Without a tensor name, the writer relies on the order of the post-processing outputs.
        names = OUTPUT_NAMES if post_processing is None else RAW_OUTPUT_NAMES
        output.tensor_name = tensors[names[output.name]]["name"]
        # The writer for detectors, unlike that for classifiers, has no score threshold.
        if output.name == "score":
            output.score_thresholding_md = metadata_info.ScoreThresholdingMd(threshold)
    content, _ = writer.populate()
    # The writer deletes its temporary files when it is collected, and fails at interpreter exit.
    del writer, output
    gc.collect()
    data = {
        "input": asdict(input_spec),
        "threshold": threshold,
        "one_thread": one_thread,
        "sha256": network_digest(content),
        "post_processing": post_processing and post_processing.settings(),
        "tiles": tiles and vars(tiles),
    }
    archive = io.BytesIO(content)
    with zipfile.ZipFile(archive, "a") as file:
        # A fixed date: the default is the current time.
        date = (1980, 1, 1, 0, 0, 0)
        file.writestr(zipfile.ZipInfo(TFOD_DATA, date), json.dumps(data))
        if post_processing is not None:
            anchors_file = zipfile.ZipInfo(ANCHORS, date)
            file.writestr(anchors_file, post_processing.anchors.astype("<f4").tobytes())
    return archive.getvalue()
