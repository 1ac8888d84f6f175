"""Runs the OD API's own tests, as installed, under tfod's repairs: the judge of upstream.py.

They run on a copy of the package to which the data files are added that its sdist leaves out
(missing_files.py). Every file runs in a process of its own, forked from one that has TensorFlow
loaded, so that a file costs its tests and not ten seconds of imports; several run at once. What may
fail is listed in expected.json with the reason: any other failure is an error, and so is a listed
test that passes.

  python tests/upstream/run.py                        every file
  python tests/upstream/run.py --chosen               those that tfod leans on most
  python tests/upstream/run.py 'core/*' inputs_test   some
"""

from __future__ import annotations

import fnmatch
import importlib
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import unittest
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from xml.etree import ElementTree

import click
from missing_files import write_missing_files
from packaging.requirements import Requirement
from tqdm import tqdm

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
# slim's own code that the sdist carries along: TensorFlow 1 only, and no part of the detectors.
OUT_OF_SCOPE = ("nets/", "deployment/", "datasets/", "preprocessing/")
# Bases whose tests others inherit and run; they themselves raise NotImplementedError.
ABSTRACT = ("builders/model_builder_test.py", "models/ssd_feature_extractor_test.py")
# What `tests/upstream/test_run.py` runs: the way of a picture through training and export.
CHOSEN = (
    *("builders/*", "core/*nms_test", "core/losses_test", "core/preprocessor_test"),
    *("data_decoders/*", "export*", "inputs_test", "metrics/coco_*"),
    "meta_architectures/faster_rcnn_meta_arch_test",
    "meta_architectures/ssd_meta_arch_test",
)
# The longest file takes three minutes on two cores; one that hangs must not hang the run.
TIMEOUT_S = 1200


@dataclass(frozen=True)
class FileResult:
    """What became of the tests of one file; `file` is relative to the package.

    Tests are named `file::Class::test`, as pytest does. A file that does not import, or whose
    process dies, counts as one failure under the name of the file.
    """

    file: str
    passed: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: dict[str, str]  # name -> last line of the error
    seconds: float


def upstream_root() -> Path:
    """The folder of the installed `object_detection`."""
    return Path(importlib.util.find_spec("object_detection").submodule_search_locations[0])


def find_files(patterns: tuple[str, ...] = ()) -> list[str]:
    """The test files in scope that match a pattern (all where none is given), sorted."""
    root = upstream_root()
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*_test.py"))
    return [
        file
        for file in files
        if not file.endswith("_tf1_test.py")
        and not file.startswith(OUT_OF_SCOPE)
        and file not in ABSTRACT
        and (not patterns or any(fnmatch.fnmatch(file[: -len(".py")], p) for p in patterns))
    ]


def run_files(files: list[str], workers: int, folder: Path) -> Iterator[FileResult]:
    """Runs test files in parallel processes and yields each result as it is there.

    Leaves the output of each file in `folder` as PATH.TO.FILE.log. Changes `sys.path`, HOME and
    the working directory of this process.
    """
    package = folder / "package" / "object_detection"
    shutil.copytree(upstream_root(), package, ignore=shutil.ignore_patterns("__pycache__"))
    sys.path.insert(0, str(package.parent))
    os.chdir(package.parent)  # some tests open files relative to it
    home = folder / "home"
    os.environ["HOME"] = str(home)  # where Keras keeps its downloads
    # Imported here, once, for all the processes. Nothing may run an operation in this one:
    # TensorFlow's threads would not survive the fork.
    for module in ("tfod", "tensorflow"):
        importlib.import_module(module)
    context = multiprocessing.get_context("fork")
    supply = context.Process(target=write_missing_files, args=(package, home))
    supply.start()
    supply.join()
    if supply.exitcode:
        raise RuntimeError("the missing data files could not be written")
    waiting, running = list(files), {}
    while waiting or running:
        while waiting and len(running) < workers:
            file = waiting.pop(0)
            process = context.Process(target=_run_file, args=(file, folder))
            process.start()
            running[process.sentinel] = (file, process, time.monotonic())
        ended = wait(running, timeout=1)
        now = time.monotonic()
        for sentinel, (file, process, start) in list(running.items()):
            if sentinel not in ended:
                if now - start < TIMEOUT_S:
                    continue
                process.kill()
            process.join()
            del running[sentinel]
            yield _read_result(file, folder, process.exitcode, now - start)


def _stem(file: str, folder: Path) -> str:
    return str(folder / file[: -len(".py")].replace("/", "."))


def _run_file(file: str, folder: Path) -> None:
    import pytest

    log = os.open(f"{_stem(file, folder)}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if file == "model_lib_tf2_test.py":
        _split_cpu()
    _restore_what_tests_call()
    own = ["-c", str(HERE / "pytest.ini"), "-p", "no:cacheprovider", "-q"]
    # tf.test.TestCase's own method, which skips itself in every class.
    own += ["-k", "not test_session"]
    report = f"--junitxml={_stem(file, folder)}.xml"
    sys.exit(int(pytest.main([str(upstream_root() / file), report, *own])))


def _restore_what_tests_call() -> None:
    """Puts back what the tests themselves, and not the OD API, call of older libraries."""
    from PIL import Image

    # Gone since Python 3.12.
    unittest.TestCase.assertEquals = unittest.TestCase.assertEqual

    # With a mode given, Pillow took the bytes of any array as they are, until 11.3.
    fromarray = Image.fromarray
    Image.fromarray = lambda array, mode=None: (
        Image.frombytes(mode, array.shape[1::-1], array.tobytes()[: array.size])
        if mode == "RGB"
        else fromarray(array, mode)
    )


def _split_cpu() -> None:
    """Makes two devices of the CPU: a MirroredStrategy over two waits for ever where one is."""
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def _read_result(file: str, folder: Path, exitcode: int, seconds: float) -> FileResult:
    passed, skipped, failed = [], [], {}
    try:
        cases = ElementTree.parse(f"{_stem(file, folder)}.xml").iter("testcase")
    except FileNotFoundError:
        return FileResult(file, (), (), {file: f"the process ended with {exitcode}"}, seconds)
    for case in cases:
        class_name = case.get("classname").rpartition(".")[2]
        name = f"{file}::{class_name}::{case.get('name')}" if class_name else file
        trouble = case.find("failure")
        trouble = case.find("error") if trouble is None else trouble
        if trouble is not None:
            failed[name] = (trouble.get("message") or trouble.text or "").strip().splitlines()[0]
        elif case.find("skipped") is not None:
            skipped.append(name)
        else:
            passed.append(name)
    return FileResult(file, tuple(passed), tuple(skipped), failed, seconds)


def read_expected() -> dict[str, str]:
    """The reasons in expected.json that hold for the installed packages, by test.

    An entry is a reason, or a reason and the release of a package that it begins with:
    `{"reason": "...", "with": "numpy>=2.5"}`.
    """
    reasons = {}
    for name, entry in json.loads(EXPECTED.read_text()).items():
        if isinstance(entry, str):
            reasons[name] = entry
            continue
        package = Requirement(entry["with"])
        if package.specifier.contains(importlib.metadata.version(package.name)):
            reasons[name] = entry["reason"]
    return reasons


def unexpected(result: FileResult, expected: dict[str, str]) -> list[str]:
    """One line for each failure that is not in `expected` and each pass that is."""
    return [
        *(f"{name} failed: {why}" for name, why in result.failed.items() if name not in expected),
        *(
            f"{name} passes: take it out of {EXPECTED.name}"
            for name in result.passed
            if name in expected
        ),
    ]


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.argument("patterns", nargs=-1)
@click.option("--chosen", is_flag=True, help="Only the files that tfod leans on most.")
@click.option("--workers", default=os.cpu_count(), show_default=True, help="Processes at once.")
@click.option("--output", type=click.Path(path_type=Path), help="A new folder for what they print.")
def main(patterns: tuple[str, ...], chosen: bool, workers: int, output: Path | None) -> None:
    files = find_files(patterns + CHOSEN if chosen else patterns)
    if not files:
        raise click.UsageError(f"no test file matches {' '.join(patterns)}")
    expected = read_expected()
    if output is None:
        output = Path(tempfile.mkdtemp(prefix="upstream-tests-"))
    else:
        output.mkdir(parents=True)
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    troubles = []
    with tqdm(total=len(files), unit="file") as progress:
        for result in run_files(files, workers, output.resolve()):
            counts = {name: len(getattr(result, name)) for name in totals}
            line = "  ".join(f"{count:4d} {name}" for name, count in counts.items())
            progress.write(f"{line}  {result.seconds:4.0f} s  {result.file}")
            progress.update()
            for name, count in counts.items():
                totals[name] += count
            troubles += unexpected(result, expected)
    ran = totals["passed"] + totals["failed"]
    print(", ".join(f"{count} {name}" for name, count in totals.items()), end="; ")
    print(f"{totals['passed'] / max(ran, 1):.2%} of the {ran} that ran passed; output in {output}")
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    sys.exit(bool(troubles))


if __name__ == "__main__":
    main()
