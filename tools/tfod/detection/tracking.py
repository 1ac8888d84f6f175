"""Follows objects through the frames of a video, so that each keeps its number.

The method is ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every
Detection Box", 2022): objects are predicted by a Kalman filter and found again by the IoU of their
boxes. A detection with a low score cannot begin a track, but continues one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from tfod.boxes import pixel_xyxy_to_normalized_yxyx
from tfod.detection.detections import Detections
from tfod.detection.prediction import Prediction
from tfod.errors import UserError

if TYPE_CHECKING:
    import supervision as sv

LOWEST = 0.5  # of the threshold: scores of detections that continue a track
# IoU from which two detections are one object, whatever their classes. The weaker one would be
# another track, or continue that of an object that is gone.
SAME = 0.5
LOST = 30  # a track ends after 30/30 s without a detection, as in the paper
SMOOTHED = 5  # frames


def track_objects(
    predictions: Iterable[Prediction], threshold: float, smooth: bool = False
) -> Iterator[Prediction]:
    """Gives each object a number that it keeps in all frames of its video.

    An object is reported from the second frame on in which it is detected. Objects are matched by
    their boxes, whatever their classes. Memory does not grow with the length of the video.

    Args:
      predictions: frames of one video or camera after another, with all detections of at least
        `LOWEST` of the threshold.
      threshold: minimum score of the detections that begin a track, in [0, 1].
      smooth: replace each box by the mean of the track's boxes in the last `SMOOTHED` frames, which
        trembles less and lags behind fast objects.

    Yields:
      The same images, with the detections that belong to a track, and their `track_ids`, which
      begin with 1 in each video.

    Raises:
      UserError: an image is not of a video or a camera, or the package `trackers` is missing.
    """
    follow, path = None, None
    for prediction in predictions:
        if prediction.frame is None:
            remedy = "Give videos or cameras, or leave out --track, --count-line and --count-zone"
            raise UserError(prediction.path, "is an image, which cannot be tracked", remedy)
        if follow is None or prediction.path != path:
            follow, path = _Follower(threshold, smooth), prediction.path
        yield replace(prediction, detections=follow(prediction))


class _Follower:
    """The tracks of one video."""

    def __init__(self, threshold: float, smooth: bool) -> None:
        import supervision as sv

        try:
            from trackers import ByteTrackTracker
        except ModuleNotFoundError as error:
            remedy = "Install it: pip install --no-deps trackers"
            raise UserError("--track", "needs the package trackers", remedy) from error
        self._tracker = ByteTrackTracker(
            lost_track_buffer=LOST,
            track_activation_threshold=threshold,
            high_conf_det_threshold=threshold,
        )
        self._smoother = sv.DetectionsSmoother(SMOOTHED) if smooth else None

    def __call__(self, prediction: Prediction) -> Detections:
        detections, size = prediction.detections, prediction.size
        rows = detections.to_supervision(*size)
        rows.data = {"row": np.arange(len(detections))}
        rows = rows.with_nms(SAME, class_agnostic=True)
        # With the times, frames may be missing, as those of a camera.
        rows = self._tracker.update(rows, timestamp=prediction.seconds)
        rows = cast("sv.Detections", rows[_tracks(rows) >= 0])
        if not len(rows):
            return replace(detections.rows([]), track_ids=np.zeros(0, np.int64))
        kept, tracks = rows.data["row"], _tracks(rows)
        boxes = detections.boxes[kept]
        if self._smoother is not None:
            smoothed = self._smoother.update_with_detections(rows)
            row_of = {track: row for row, track in enumerate(_tracks(smoothed).tolist())}
            mean = smoothed.xyxy[[row_of[track] for track in tracks.tolist()]]
            boxes = pixel_xyxy_to_normalized_yxyx(mean, *size).astype(np.float32)
        tracked = replace(detections.rows(kept), boxes=boxes, track_ids=tracks + 1)
        return tracked.rows(np.argsort(kept))  # the highest score first


def _tracks(rows: sv.Detections) -> np.ndarray:
    """Returns the tracker ids, int64 `[N]`; -1 where an object belongs to no track yet."""
    return np.asarray(rows.tracker_id, np.int64)
