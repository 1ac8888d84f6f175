"""Creates the data files that the OD API's tests read and its sdist lacks."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np

# The classes of the Oxford-IIIT Pet data set, in the order of its label map.
PETS = (
    *("Abyssinian", "american_bulldog", "american_pit_bull_terrier", "basset_hound", "beagle"),
    *("Bengal", "Birman", "Bombay", "boxer", "British_Shorthair", "chihuahua"),
    *("Egyptian_Mau", "english_cocker_spaniel", "english_setter", "german_shorthaired"),
    *("great_pyrenees", "havanese", "japanese_chin", "keeshond", "leonberger", "Maine_Coon"),
    *("miniature_pinscher", "newfoundland", "Persian", "pomeranian", "pug", "Ragdoll"),
    *("Russian_Blue", "saint_bernard", "samoyed", "scottish_terrier", "shiba_inu", "Siamese"),
    *("Sphynx", "staffordshire_bull_terrier", "wheaten_terrier", "yorkshire_terrier"),
)
# File name of the weights that Keras downloads.
MOBILENET_WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
DENSEPOSE_PARTS = 24


def write_missing_files(package: Path, home: Path) -> None:
    """Writes the files into a copy of the package, and backbone weights into a home folder.

    Builds Keras models, so call it in a separate process.
    """
    writers = {
        package / "data/pet_label_map.pbtxt": _write_pet_label_map,
        package / "dataset_tools/densepose/UV_symmetry_transforms.mat": _write_symmetries,
        package / "samples/configs/ssd_mobilenet_v2_pets_keras.config": _write_pet_pipeline,
        package / "test_data/pets_examples.record": _write_pet_examples,
        package / "test_images/image1.jpg": _write_image,
        home / ".keras/models" / MOBILENET_WEIGHTS: _write_imagenet_weights,
    }
    for path, write in writers.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)


def _write_pet_label_map(path: Path) -> None:
    from tfod.dataset.label_map import write_label_map

    write_label_map(path, dict(enumerate(PETS, start=1)))


def _write_pet_examples(path: Path) -> None:
    """Writes two synthetic scenes whose signs have class names of pets."""
    import tensorflow as tf

    from tfod.annotation import Annotation
    from tfod.dataset.records import make_example
    from tfod.images import EncodedImage
    from tfod.sample.scene import make_scene

    ids = {name: number for number, name in enumerate(PETS, start=1)}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for index in range(2):
            image, signs = make_scene(seed=0, index=index)
            jpeg = io.BytesIO()
            image.save(jpeg, "jpeg")
            pets = [
                dataclasses.replace(sign, name=PETS[number]) for number, sign in enumerate(signs)
            ]
            name = Path(f"pet{index}.jpg")
            annotation = Annotation(name, name, *image.size, tuple(pets), str(index))
            encoded = EncodedImage(jpeg.getvalue(), b"jpeg", *image.size)
            writer.write(make_example(annotation, encoded, ids).SerializeToString())


def _write_pet_pipeline(path: Path) -> None:
    """Writes the template SSD MobileNet V2 with the number of pet classes."""
    from tfod.model.pipeline import read_pipeline, write_pipeline
    from tfod.model.templates import find_template

    pipeline = read_pipeline(find_template("ssd_mobilenet_v2_320x320"))
    pipeline.model.ssd.num_classes = len(PETS)
    write_pipeline(pipeline, path)


def _write_symmetries(path: Path) -> None:
    """Writes the maps that flip DensePose coordinates: u becomes 1 - u, an approximation.

    Row v and column u of a 256 x 256 map contain the new coordinate. All are scaled by 255.
    """
    from scipy.io import savemat

    v, u = np.mgrid[0:256, 0:256].astype(np.uint8)
    maps = {"U_transforms": 255 - u, "V_transforms": v}
    cells = {name: np.empty((1, DENSEPOSE_PARTS), object) for name in maps}
    for name, values in maps.items():
        for part in range(DENSEPOSE_PARTS):
            cells[name][0, part] = values
    savemat(path, cells)


def _write_image(path: Path) -> None:
    from tfod.sample.scene import make_scene

    make_scene(seed=0, index=0)[0].save(path)


def _write_imagenet_weights(path: Path) -> None:
    """Writes random weights, because the tests check shapes only."""
    import tensorflow as tf

    tf.keras.applications.MobileNetV2(weights=None, include_top=False).save_weights(str(path))
