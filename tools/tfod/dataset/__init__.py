"""A converted data set: manifest, label map and TFRecord shards. Needs no annotation reader."""

from tfod.dataset.label_map import read_label_map, write_label_map
from tfod.dataset.manifest import Dataset, Split, load_dataset
from tfod.dataset.records import Record, read_records

__all__ = [
    "Dataset",
    "Record",
    "Split",
    "load_dataset",
    "read_label_map",
    "read_records",
    "write_label_map",
]
