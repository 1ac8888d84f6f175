"""Recreates the data files that the OD API's tests open and its sdist leaves out."""

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
# The name of Keras's download.
MOBILENET_WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
# Body parts of DensePose.
PARTS = 24


def write_missing_files(package: Path, home: Path) -> None:
    """Writes the files into a copy of the package, and ImageNet weights into a home folder.

    Builds Keras models: call it in a process of its own.
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
    """Two scenes of the sample whose signs go by the names of pets."""
    import tensorflow as tf

    from tfod.annotation import Annotation
    from tfod.dataset.records import make_example
    from tfod.images import EncodedImage
    from tfod.sample.scene import make_scene

    ids = {name: number for number, name in enumerate(PETS, start=1)}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for index in range(2):
            picture, signs = make_scene(seed=0, index=index)
            jpeg = io.BytesIO()
            picture.save(jpeg, "jpeg")
            pets = [
                dataclasses.replace(sign, name=PETS[number]) for number, sign in enumerate(signs)
            ]
            name = Path(f"pet{index}.jpg")
            annotation = Annotation(name, name, *picture.size, tuple(pets), str(index))
            image = EncodedImage(jpeg.getvalue(), b"jpeg", *picture.size)
            writer.write(make_example(annotation, image, ids).SerializeToString())


def _write_pet_pipeline(path: Path) -> None:
    """Our SSD-MobileNet V2, for pets."""
    from tfod.model.pipeline import read_pipeline, write_pipeline
    from tfod.model.templates import find_template

    pipeline = read_pipeline(find_template("ssd_mobilenet_v2_320x320"))
    pipeline.model.ssd.num_classes = len(PETS)
    write_pipeline(pipeline, path)


def _write_symmetries(path: Path) -> None:
    """How each part's surface looks in a mirror: u becomes 1 - u here, which real bodies are near.

    A cell of the 256 x 256 map holds the new coordinate of a point whose v is the row and whose u
    is the column, in 255ths.
    """
    from scipy.io import savemat

    v, u = np.mgrid[0:256, 0:256].astype(np.uint8)
    maps = {"U_transforms": 255 - u, "V_transforms": v}
    cells = {name: np.empty((1, PARTS), object) for name in maps}
    for name, values in maps.items():
        for part in range(PARTS):
            cells[name][0, part] = values
    savemat(path, cells)


def _write_image(path: Path) -> None:
    from tfod.sample.scene import make_scene

    make_scene(seed=0, index=0)[0].save(path)


def _write_imagenet_weights(path: Path) -> None:
    """Random ones: the tests look at shapes only."""
    import tensorflow as tf

    tf.keras.applications.MobileNetV2(weights=None, include_top=False).save_weights(str(path))
