"""A local object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.object_store import PACKAGES, Store
from helpers.packages import install
from helpers.voc_files import voc_object, write_image, write_xml


@pytest.fixture(scope="session")
def store_packages(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("store_packages")
    install(folder, *PACKAGES)
    return folder


@pytest.fixture
def store(store_packages) -> Iterator[Store]:
    store = Store(store_packages)
    yield store
    store.close()


@pytest.fixture
def voc(tmp_path) -> Path:
    """12 images with annotations, in images/ and xml/."""
    for number in range(12):
        write_image(tmp_path / f"voc/images/{number}.png", color=(20 * number, 255, 7))
        write_xml(
            tmp_path / f"voc/xml/{number}.xml",
            voc_object(box=(number, 2, 30, 12)),
            filename=f"{number}.png",
        )
    return tmp_path / "voc"
