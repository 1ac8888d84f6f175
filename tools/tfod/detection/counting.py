"""Counts tracked objects that cross a line or are in a zone of the video."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tfod.errors import UserError

if TYPE_CHECKING:
    from tfod.detection.detections import Detections
    from tfod.detection.prediction import Prediction

IN, OUT = "in", "out"  # of a line
NOW, EVER = "inside now", "ever inside"  # of a zone
# Frames that an object must be on the other side of a line: a box that trembles is counted once.
CROSSED = 2
LARGEST = 100_000  # pixels


@dataclass(frozen=True)
class Place:
    """Where objects are counted.

    Attributes:
      name: "line 1", "zone 2".
      points: x and y in pixels: the two ends of a line, or the corners of a zone.
    """

    name: str
    points: tuple[tuple[int, int], ...]

    @property
    def is_line(self) -> bool:
        return len(self.points) == 2


@dataclass(frozen=True)
class Count:
    """The objects counted at one place, up to an image.

    Attributes:
      totals: number of objects by class, for "in" and "out" of a line, or "inside now" and "ever
        inside" of a zone.
      events: what each detection of the image did: "in", "out", "inside" or "".
    """

    place: Place
    totals: dict[str, dict[str, int]]
    events: tuple[str, ...]

    def __str__(self) -> str:
        """Returns a line such as "line 1: 12 in (9 car, 3 bus), 4 out (4 car)"."""
        parts = []
        for what, by_class in self.totals.items():
            classes = ", ".join(f"{number} {name}" for name, number in sorted(by_class.items()))
            parts.append(f"{sum(by_class.values())} {what}" + (f" ({classes})" if classes else ""))
        return f"{self.place.name}: {', '.join(parts)}"


def parse_places(lines: Sequence[str], zones: Sequence[str]) -> list[Place]:
    """Reads the options `--count-line` and `--count-zone`.

    Args:
      lines: each "x1,y1,x2,y2".
      zones: each "x1,y1,x2,y2,x3,y3" or more corners.

    Raises:
      UserError: a text is not a list of pixel coordinates, or has too few different points.
    """
    places = []
    for option, kind, texts, remedy in (
        ("--count-line", "line", lines, "Give the two ends x1,y1,x2,y2 in pixels"),
        ("--count-zone", "zone", zones, "Give three corners or more, x1,y1,x2,y2,x3,y3, in pixels"),
    ):
        for number, text in enumerate(texts, 1):
            points = _points(text)
            different = len(set(points))
            is_valid = different == len(points) == 2 if kind == "line" else different >= 3
            if not is_valid:
                raise UserError(option, f"{text!r} is not a {kind}", remedy)
            places.append(Place(f"{kind} {number}", points))
    return places


def count_objects(
    predictions: Iterable[Prediction], places: Sequence[Place]
) -> Iterator[Prediction]:
    """Adds the counts up to each image. They begin with 0 in each video.

    An object is where the center of its box is. It crosses a line `in` if it goes from the right to
    the left as seen from the first end of the line, and `out` in the other direction.

    Args:
      predictions: from `tracking.track_objects`.

    Raises:
      UserError: a line or a zone is not inside the images of a video.
    """
    path, counters = None, []
    for prediction in predictions:
        if prediction.path != path:
            path, counters = prediction.path, [_counter(place, prediction) for place in places]
        yield replace(prediction, counts=tuple(count(prediction) for count in counters))


def _points(text: str) -> tuple[tuple[int, int], ...]:
    """Returns x and y of each point; nothing if the text is not a list of pixel coordinates."""
    words = text.split(",")
    if len(words) % 2 or not all(word.strip().isdecimal() for word in words):
        return ()
    numbers = [int(word) for word in words]
    if max(numbers) > LARGEST:
        return ()
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _counter(place: Place, first: Prediction) -> Callable[[Prediction], Count]:
    width, height = first.size
    for x, y in place.points:
        if x > width or y > height:
            what = f"has the point {x},{y} outside of {first.path}, which is {width} x {height}"
            raise UserError(place.name, what, "Give points in pixels of the video")
    return _line_counter(place) if place.is_line else _zone_counter(place)


def _line_counter(place: Place) -> Callable[[Prediction], Count]:
    import supervision as sv

    start, end = (sv.Point(*point) for point in place.points)
    zone = sv.LineZone(start, end, [sv.Position.CENTER], minimum_crossing_threshold=CROSSED)
    totals: dict[str, Counter[str]] = {IN: Counter(), OUT: Counter()}

    def count(prediction: Prediction) -> Count:
        detections = prediction.detections
        crossed = zone.trigger(detections.to_supervision(*prediction.size))
        events = [""] * len(detections)
        for direction, rows in zip((IN, OUT), crossed, strict=True):
            for row in np.flatnonzero(rows):
                events[row] = direction
                totals[direction][detections.names[row]] += 1
        return Count(place, _copy(totals), tuple(events))

    return count


def _zone_counter(place: Place) -> Callable[[Prediction], Count]:
    import supervision as sv

    zone = sv.PolygonZone(np.array(place.points), [sv.Position.CENTER])
    ever: Counter[str] = Counter()
    counted: set[int] = set()

    def count(prediction: Prediction) -> Count:
        detections = prediction.detections
        inside = zone.trigger(detections.to_supervision(*prediction.size))
        events = tuple("inside" if is_inside else "" for is_inside in inside)
        now = detections.rows(np.flatnonzero(inside))
        for name, track in zip(now.names, _tracks(now), strict=True):
            if track not in counted:
                counted.add(track)
                ever[name] += 1
        return Count(place, _copy({NOW: Counter(now.names), EVER: ever}), events)

    return count


def _tracks(detections: Detections) -> list[int]:
    return [] if detections.track_ids is None else detections.track_ids.tolist()


def _copy(totals: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {name: dict(counter) for name, counter in totals.items()}
