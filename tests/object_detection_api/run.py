"""Runs the OD API's own tests with the repairs of `tfod.upstream`.

The tests run on a copy of the package, with the data files that its sdist lacks
(missing_files.py). Each test file runs in its own process, several of them in parallel. The
processes are forked from one that has imported TensorFlow, which saves ten seconds per file.
expected.json lists the tests that may fail, with reasons. Any other failure is an error, and so is
a listed test that passes.

  python tests/object_detection_api/run.py                        all files
  python tests/object_detection_api/run.py --chosen               the files that matter most
  python tests/object_detection_api/run.py 'core/*' inputs_test   some files
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
# Code of slim in the sdist. It needs TensorFlow 1, and the detectors do not use it.
OUT_OF_SCOPE = ("nets/", "deployment/", "datasets/", "preprocessing/")
# Base classes that raise NotImplementedError; other files inherit and run their tests.
ABSTRACT = ("builders/model_builder_test.py", "models/ssd_feature_extractor_test.py")
# The files that test_run.py runs: the code that an image passes in training and export.
CHOSEN = (
    *("builders/*", "core/*nms_test", "core/losses_test", "core/preprocessor_test"),
    *("data_decoders/*", "export*", "inputs_test", "metrics/coco_*"),
    "meta_architectures/faster_rcnn_meta_arch_test",
    "meta_architectures/ssd_meta_arch_test",
)
# The slowest file takes three minutes on two cores.
TIMEOUT_S = 1200


@dataclass(frozen=True)
class FileResult:
    """The results of one test file.

    Tests are named `file::Class::test`, as in pytest. A file that cannot be imported, or whose
    process crashes, counts as one failure with the name of the file.

    Attributes:
      file: path relative to the package.
      failed: last line of the error by name of the test.
    """

    file: str
    passed: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: dict[str, str]
    seconds: float


def upstream_root() -> Path:
    """Returns the folder of the installed `object_detection`."""
    return Path(importlib.util.find_spec("object_detection").submodule_search_locations[0])


def find_files(patterns: tuple[str, ...] = ()) -> list[str]:
    """Returns the test files that match a pattern, sorted; all files if there is no pattern."""
    root = upstream_root()
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*_test.py"))
    return [
        file
        for file in files
        if not file.endswith("_tf1_test.py")
        and not file.startswith(OUT_OF_SCOPE)
        and file not in ABSTRACT
        and (
            not patterns
            or any(fnmatch.fnmatch(file[: -len(".py")], pattern) for pattern in patterns)
        )
    ]


def run_files(files: list[str], workers: int, folder: Path) -> Iterator[FileResult]:
    """Runs test files in parallel processes and yields the results as they are ready.

    Writes the output of each file to `folder`/PATH.TO.FILE.log. Changes `sys.path`, HOME and the
    working directory of this process.
    """
    package = folder / "package" / "object_detection"
    shutil.copytree(upstream_root(), package, ignore=shutil.ignore_patterns("__pycache__"))
    sys.path.insert(0, str(package.parent))
    os.chdir(package.parent)  # some tests open files relative to it
    home = folder / "home"
    os.environ["HOME"] = str(home)  # Keras caches its downloads there
    # Imported once for all processes. This process must not run a TensorFlow operation, because
    # threads do not survive a fork.
    for module in ("tfod", "tensorflow"):
        importlib.import_module(module)
    context = multiprocessing.get_context("fork")
    writer = context.Process(target=write_missing_files, args=(package, home))
    writer.start()
    writer.join()
    if writer.exitcode:
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
    _restore_names_for_tests()
    options = ["-c", str(HERE / "pytest.ini"), "-p", "no:cacheprovider", "-q"]
    # A method of tf.test.TestCase that skips itself in every class.
    options += ["-k", "not test_session"]
    report = f"--junitxml={_stem(file, folder)}.xml"
    sys.exit(int(pytest.main([str(upstream_root() / file), report, *options])))


def _restore_names_for_tests() -> None:
    """Restores removed functions of libraries that only the tests of the OD API call."""
    from PIL import Image

    # Removed in Python 3.12.
    unittest.TestCase.assertEquals = unittest.TestCase.assertEqual

    # Until Pillow 11.3, fromarray with a mode used the bytes of an array of any dtype.
    fromarray = Image.fromarray
    Image.fromarray = lambda array, mode=None: (
        Image.frombytes(mode, array.shape[1::-1], array.tobytes()[: array.size])
        if mode == "RGB"
        else fromarray(array, mode)
    )


def _split_cpu() -> None:
    """Splits the CPU into two logical devices: a test waits forever for a second device."""
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def _read_result(file: str, folder: Path, exitcode: int, seconds: float) -> FileResult:
    passed: list[str] = []
    skipped: list[str] = []
    failed: dict[str, str] = {}
    try:
        cases = ElementTree.parse(f"{_stem(file, folder)}.xml").iter("testcase")
    except FileNotFoundError:
        return FileResult(file, (), (), {file: f"the process exited with code {exitcode}"}, seconds)
    for case in cases:
        class_name = case.get("classname").rpartition(".")[2]
        name = f"{file}::{class_name}::{case.get('name')}" if class_name else file
        failure = case.find("failure")
        failure = case.find("error") if failure is None else failure
        if failure is not None:
            failed[name] = (failure.get("message") or failure.text or "").strip().splitlines()[0]
        elif case.find("skipped") is not None:
            skipped.append(name)
        else:
            passed.append(name)
    return FileResult(file, tuple(passed), tuple(skipped), failed, seconds)


def read_expected() -> dict[str, str]:
    """Returns the reasons in expected.json that apply to the installed packages, by test.

    An entry is a reason, or a reason and the releases of a package that it applies to:
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
    """Returns one line per unexpected failure, and per test in `expected` that passes."""
    return [
        *(
            f"{name} failed: {error}"
            for name, error in result.failed.items()
            if name not in expected
        ),
        *(
            f"{name} passes: remove it from {EXPECTED.name}"
            for name in result.passed
            if name in expected
        ),
    ]


@click.command(help=__doc__.replace("\n  python", "\n\n\b\n  python"))
@click.argument("patterns", nargs=-1)
@click.option("--chosen", is_flag=True, help="Run the files that matter most for tfod.")
@click.option("--workers", default=os.cpu_count(), show_default=True, help="Number of processes.")
@click.option("--output", type=click.Path(path_type=Path), help="New folder for the test output.")
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
    problems = []
    with tqdm(total=len(files), unit="file") as progress:
        for result in run_files(files, workers, output.resolve()):
            counts = {name: len(getattr(result, name)) for name in totals}
            line = "  ".join(f"{count:4d} {name}" for name, count in counts.items())
            progress.write(f"{line}  {result.seconds:4.0f} s  {result.file}")
            progress.update()
            for name, count in counts.items():
                totals[name] += count
            problems += unexpected(result, expected)
    run = totals["passed"] + totals["failed"]
    print(", ".join(f"{count} {name}" for name, count in totals.items()), end="; ")
    passed = totals["passed"] / max(run, 1)
    print(f"{passed:.2%} of the {run} tests that ran passed; output in {output}")
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
