"""Writes COCO JSON, and the header of the CSV of the OD API tutorials."""

from __future__ import annotations

import json
from pathlib import Path

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def coco(path: Path, **changes) -> Path:
    """Writes a COCO file of three images; `changes` replace its top-level entries."""
    content = {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30},
            {"id": 2, "file_name": "deep/b.jpg", "width": 40, "height": 30},
            {"id": 3, "file_name": "c.jpg"},
        ],
        "categories": [{"id": 5, "name": "stop"}, {"id": 9, "name": "cross  walk"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 10, 10.5]},
            {"id": 2, "image_id": 2, "category_id": 9, "bbox": [0, 0, 40, 30], "iscrowd": 1},
            {"id": 3, "image_id": 1, "category_id": 9, "bbox": [3, 4, 5, 6],
             "attributes": {"occluded": True}},
        ],
    }  # fmt: skip
    path.write_text(json.dumps(content | changes))
    return path
