"""The command line: parses arguments, calls one function, prints."""

from __future__ import annotations

import contextlib
import gc
import sys
from pathlib import Path

import click

from tfod.errors import BadFilesError, UserError
from tfod.precision import AUTO, PRECISIONS
from tfod.terminal import bar, part, share, stages, table

FOLDER = click.Path(path_type=Path, file_okay=True)
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace what lies at --output.")


class _Commands(click.Group):
    """Prints a UserError as one line and exits with 2; Ctrl-C exits with 130."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order people use them

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except BadFilesError as error:
            for fault in error.errors:
                click.echo(f"tfod: {fault}", err=True)
            click.echo(f"tfod: {error}", err=True)
            sys.exit(2)
        except UserError as error:
            click.echo(f"tfod: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo(
                "\ntfod: interrupted; what was finished is kept, repeat the command", err=True
            )
            sys.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tfod")
def main() -> None:
    """Train your own object detector and put it in your pocket.

    \b
    tfod convert   annotated pictures            ->  data/NAME
    tfod inspect   data/NAME                     ->  what is in it, what to mend
    tfod train     data/NAME                     ->  runs/NAME
    tfod evaluate  runs/NAME                     ->  COCO metrics
    tfod export    runs/NAME                     ->  exported_models/NAME (SavedModel, TFLite)
    tfod predict   exported_models/NAME          ->  pictures with boxes
    tfod live      exported_models/NAME          ->  a page for the camera
    """
    from tfod.quiet import quiet

    quiet()


@main.command()
@click.option("--output", type=FOLDER, required=True, help="Folder to write.")
@click.option("--count", type=click.IntRange(1), default=400, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def sample(output: Path, count: int, seed: int) -> None:
    """Make a synthetic road-sign data set, so that everything runs with no download.

    \b
    Example:
      tfod sample --output data/sample_voc
    """
    from tfod.sample import write_sample

    write_sample(output, count, seed, progress=bar("scenes", total=count))
    click.echo(f"{count} scenes: {output}/images, {output}/annotations")


@main.command()
@click.option(
    "--annotations",
    type=FOLDER,
    required=True,
    help="Folder of PASCAL VOC XML or YOLO labels, or a COCO .json or .csv file.",
)
@click.option("--images", type=FOLDER, required=True, help="Folder of the pictures.")
@click.option("--output", type=FOLDER, required=True, help="Folder to write, such as data/NAME.")
@click.option("--split", default="0.8,0.1,0.1", show_default=True, help="Train,val,test fractions.")
@click.option(
    "--split-by",
    type=FOLDER,
    help="Split as a CSV (filename, split) or a folder of train.txt, val.txt, test.txt says.",
)
@click.option(
    "--group-by",
    metavar="REGEX",
    help="Keep pictures together in whose path this finds the same: frames of a video.",
)
@click.option("--label-map", type=FOLDER, help="Keep the class ids of this label map.")
@click.option("--shards", type=click.IntRange(1), help="Files a split.  [default: by size]")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: all cores]")
@click.option("--runner", help="Work on a cluster: DirectRunner, FlinkRunner … of Apache Beam.")
@click.option(
    "--runner-option",
    "runner_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of the runner, such as flink_master=host:8081. May be given often.",
)
@click.option(
    "--verify",
    type=click.Choice(["decode", "headers"]),
    default="decode",
    show_default=True,
    help="Decode every picture first, or read headers only.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the split and order."
)
@click.option("--skip-bad", is_flag=True, help="Leave out files with faults; list them.")
@OVERWRITE
def convert(
    split: str, verify: str, runner: str | None, runner_options: tuple[str, ...], **arguments
) -> None:
    """Check annotated pictures, and write them as TFRecord.

    Annotations are PASCAL VOC XML (LabelImg, CVAT, Roboflow), COCO JSON, YOLO labels, or the CSV
    of the tutorials; which one is seen from the files.

    \b
    Example:
      tfod convert --annotations signs/annotations --images signs/images --output data/signs
    """
    from tfod.convert import convert

    try:
        fractions = tuple(float(part) for part in split.split(","))
    except ValueError as error:
        raise UserError("--split", f"is {split!r}", "Give fractions as 0.8,0.1,0.1") from error
    if runner_options and not runner:
        raise UserError("--runner-option", "is for a --runner", "Give both or none")
    # The annotations stay till the end; looking among them for garbage takes a tenth of the time.
    gc.disable()
    beam = [f"--runner={runner}", *(f"--{option}" for option in runner_options)] if runner else ()
    with stages() as progress:
        decode = verify == "decode"
        data = convert(split=fractions, decode=decode, beam=beam, progress=progress, **arguments)
    table(
        ["split", "images", *data.classes.values()],
        [
            [name, s.images, *(s.objects_per_class[c] for c in data.classes.values())]
            for name, s in data.splits.items()
        ],
    )
    for remark in data.remarks:
        click.echo(f"note: {remark.what}", err=True)
    click.echo(f"written: {data.folder}")


@main.command()
@click.argument("data", type=FOLDER)
@click.option("--label-map", type=FOLDER, help="For records that tfod did not write.")
@click.option("--pipeline", help="Template or pipeline.config to hold the boxes against.")
@click.option("--output", type=FOLDER, help="Folder for an HTML page with plots and samples.")
@OVERWRITE
def inspect(
    data: Path,
    label_map: Path | None,
    pipeline: str | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Show what is in a data set: classes, sizes, and what to mend before training.

    \b
    Example:
      tfod inspect data/signs --pipeline ssd_mobilenet_v2_fpnlite_320x320 --output runs/signs_data
    """
    from tfod import inspection
    from tfod.files import refuse_existing, replacing_folder
    from tfod.pipeline import find_template, read_pipeline

    if output is not None:
        refuse_existing(output, overwrite)
    records = inspection.find_records(data, label_map)
    config = read_pipeline(find_template(pipeline)) if pipeline else None
    found = inspection.inspect(records, bar("pictures", total=records.pictures))
    counts = inspection.class_counts(found)
    splits = list(dict.fromkeys(split for split, _ in counts.columns))
    table(
        ["class: objects in pictures", *splits],
        [
            [name, *(f"{row[split, 'objects']} in {row[split, 'pictures']}" for split in splits)]
            for name, row in counts.iterrows()
        ],
    )
    sizes = inspection.size_table(found)
    table(
        ["", *sizes.columns],
        [
            [name, *(f"{value:.4g}" for value in row)]
            for name, row in zip(sizes.index, sizes.to_numpy(), strict=True)
        ],
    )
    fits = None
    if config is not None:
        fits = inspection.anchor_table(found, config)
        table(["anchors", *fits.index], [[name, *column] for name, column in fits.items()])
    warnings = inspection.warnings(found, config)
    for warning in warnings:
        click.echo(f"note: {warning}")
    if output is not None:
        from tfod.inspection_page import write_page

        with replacing_folder(output) as partial:
            write_page(partial / "index.html", data.resolve().name, found, warnings, fits)
        click.echo(f"written: {output / 'index.html'}")


@main.command()
@click.option("--data", type=FOLDER, required=True, help="Data set that convert wrote.")
@click.option("--pipeline", required=True, help="Template name, or a pipeline.config file.")
@click.option("--output", type=FOLDER, required=True, help="Run folder; one that is there resumes.")
@click.option(
    "--init",
    default="zoo",
    show_default=True,
    help="Weights to start from: zoo, scratch, or a checkpoint (PATH/ckpt-0).",
)
@click.option(
    "--init-type",
    type=click.Choice(["detection", "full", "classification"]),
    help="What to take from the checkpoint.  [default: detection or classification, as it holds]",
)
@click.option("--steps", type=click.IntRange(1), help="Optimizer steps.  [default: template]")
@click.option("--batch-size", type=click.IntRange(1), help="Pictures a step.  [default: template]")
@click.option("--learning-rate", type=float, help="Peak.  [default: template, scaled to the batch]")
@click.option("--checkpoint-every", type=click.IntRange(1), default=100, show_default=True)
@click.option("--keep", type=click.IntRange(1), default=3, show_default=True, help="Checkpoints.")
@click.option("--eval-every", type=click.IntRange(1), help="Steps.  [default: a tenth of the run]")
@click.option(
    "--patience", type=click.IntRange(1), help="Stop after so many evaluations without a better AP."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--deterministic", is_flag=True, help="The same weights each time, to the last bit.")
@click.option("--balance", is_flag=True, help="Show pictures with rare classes more often.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=AUTO,
    show_default=True,
    help="Of convolutions: auto takes bfloat16 where the processor has it.",
)
@OVERWRITE
def train(
    data: Path,
    pipeline: str,
    output: Path,
    init: str,
    init_type: str | None,
    steps: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    checkpoint_every: int,
    keep: int,
    eval_every: int | None,
    patience: int | None,
    seed: int,
    deterministic: bool,
    balance: bool,
    precision: str,
    overwrite: bool,
) -> None:
    """Train a detector. The same command goes on with a run that was stopped.

    It is judged on the val split as it learns, and the best weights are kept.

    \b
    Example:
      tfod train --data data/signs --pipeline ssd_mobilenet_v2_fpnlite_320x320 \\
        --init ssd_mobilenet_v2_fpnlite_320x320_coco17_tpu-8/checkpoint/ckpt-0 --output runs/signs
    """
    from tqdm import tqdm

    from tfod import zoo
    from tfod.dataset import load_dataset
    from tfod.pipeline import Options, find_template
    from tfod.training import Evaluation, RunSettings, Step, train

    dataset, template = load_dataset(data), find_template(pipeline)
    if init == "zoo":
        raise zoo.not_yet(template)
    options = Options(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        init=None if init == "scratch" else Path(init),
        init_type=init_type,
    )
    shown: dict[str, str] = {}
    judged: list[Evaluation] = []
    with tqdm(unit="step", desc="building", mininterval=0.5, dynamic_ncols=True) as bar:

        def show(step: Step) -> None:
            if bar.total is None:
                bar.reset(step.of)
                bar.initial = bar.n = step.number - 1
                bar.set_description("training", refresh=False)
            shown["loss"] = f"{step.total_loss:.3f}"
            shown["images/s"] = f"{step.images_per_second:.1f}"
            bar.set_postfix(shown, refresh=False)
            bar.update()

        def judge(evaluation: Evaluation) -> None:
            shown["AP"] = f"{evaluation.ap:.3f}"
            judged.append(evaluation)

        settings = RunSettings(
            seed=seed,
            checkpoint_every=checkpoint_every,
            keep=keep,
            eval_every=eval_every,
            patience=patience,
            deterministic=deterministic,
            precision=precision,
            balance=balance,
        )
        last = train(
            *(dataset, str(template), output, options, settings, overwrite),
            on_step=show,
            on_evaluation=judge,
        )
    if judged:
        table(
            ["step", "AP", "AP50", "AP_small", "val loss", "best"],
            [
                [
                    each.step,
                    *(share(each.metrics[name]) for name in ("AP", "AP50", "AP_small")),
                    f"{each.losses['Loss/total_loss']:.3f}",
                    "*" if each.best else "",
                ]
                for each in judged
            ],
        )
    click.echo(f"trained: {last}")


INPUT_SIZE = click.option(
    "--input-size",
    type=click.IntRange(32),
    help="Pixels that pictures are resized to.  [default: as in training]",
)


@main.command()
@click.option("--run", "model", type=FOLDER, help="Run folder: its best checkpoint.")
@click.option("--model", "model", type=FOLDER, help="Export folder, or a .tflite file in one.")
@click.option(
    "--detections", type=FOLDER, help="COCO results file: what was found, on a phone or elsewhere."
)
@click.option("--data", type=FOLDER, required=True, help="Data set that convert wrote.")
@click.option("--split", default="test", show_default=True)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Score from which on a detection counts.  [default: the one with the best F1]",
)
@INPUT_SIZE
@click.option(
    "--output", type=FOLDER, help="Folder for report.html, galleries and detections.json."
)
@OVERWRITE
def evaluate(
    model: Path | None,
    detections: Path | None,
    data: Path,
    split: str,
    threshold: float | None,
    input_size: int | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Measure how good a model is on a split, and show what it gets wrong.

    The same for a run, a SavedModel, a .tflite and a file of detections. metrics.json goes beside
    the model, or with all the rest into --output.

    \b
    Example:
      tfod evaluate --model exported_models/signs/model.tflite --data data/signs \\
        --output runs/signs_report
    """
    from tfod.coco_results import read_results
    from tfod.dataset import load_dataset
    from tfod.detector import Detector
    from tfod.evaluation import judge
    from tfod.evaluation_report import write_report
    from tfod.files import refuse_existing
    from tfod.prediction import predict_records
    from tfod.records import read_records

    if (model is None) == (detections is None):
        raise UserError(
            "--run, --model or --detections",
            "is missing" if model is None else "is given twice",
            "Say what to evaluate, by one of them",
        )
    if detections is not None and input_size is not None:
        raise UserError("--input-size", "has no use with --detections", "Leave it out")
    dataset = load_dataset(data)
    pictures = dataset.split(split)
    if output is not None:
        refuse_existing(output, overwrite)
    truths, found = [], []
    if detections is not None:
        truths = [record.annotation for record in read_records(pictures.shards)]
        found = read_results(detections, truths, dataset.classes)
    else:
        judged = predict_records(Detector.load(model, input_size), pictures.shards)
        for truth, detected in bar("pictures", total=pictures.images)(judged):
            truths.append(truth)
            found.append(detected)
    metrics, matching = judge(truths, found, dataset.classes.values(), threshold)
    source = model or detections
    if output is not None:
        write_report(output, source, dataset, split, found, metrics, matching)
        written = output / "report.html"
    else:
        folder, stem = (source, "") if source.is_dir() else (source.parent, f"{source.stem}_")
        metrics.write(written := folder / f"{stem}metrics.json")
    _print_metrics(metrics, split)
    click.echo(f"written: {written}")


def _print_metrics(metrics, split: str) -> None:
    table(["metric", split], [[name, share(v)] for name, v in metrics.coco.items()])
    columns = ("AP", "AP50", "VOC_AP50", "precision", "recall", "threshold")
    table(
        ["class", *columns[:-1], "at score"],
        [
            [name, *(share(of_class[column]) for column in columns)]
            for name, of_class in metrics.per_class.items()
        ],
    )
    click.echo(
        f"{metrics.images} pictures, {metrics.objects} objects. At score {metrics.threshold:.2f}: "
        f"{metrics.identified} identified ({part(metrics.identified, metrics.objects)}), "
        f"{metrics.missed} missed, {metrics.false} false ({part(metrics.false, metrics.objects)})"
    )


@main.command()
@click.option("--data", type=FOLDER, required=True, help="Data set that convert wrote.")
@click.option("--split", default="test", show_default=True)
@click.option("--output", type=FOLDER, help="Folder for comparison.csv and comparison.png.")
@OVERWRITE
@click.argument("models", nargs=-1, required=True, type=FOLDER, metavar="RUN_OR_MODEL...")
def compare(
    data: Path, split: str, output: Path | None, overwrite: bool, models: tuple[Path, ...]
) -> None:
    """Put models side by side: accuracy, size, and time for a picture on this machine.

    Run folders, export folders (their SavedModel and every .tflite) and single .tflite files.

    \b
    Example:
      tfod compare --data data/signs exported_models/signs runs/signs_640 --output runs/compared
    """
    from tfod import comparison
    from tfod.dataset import load_dataset
    from tfod.files import refuse_existing

    dataset = load_dataset(data)
    total = dataset.split(split).images
    if output is not None:
        refuse_existing(output, overwrite)

    def progress(name: str, records):
        return bar(name, total)(records)

    compared = comparison.compare(comparison.contestants(models), dataset, split, progress)
    for header, rows in comparison.shown(compared):
        table(header, rows)
    if output is not None:
        comparison.write_comparison(compared, output)
        click.echo(f"written: {output}")


@main.command()
@click.option("--run", type=FOLDER, required=True, help="Run folder: its best checkpoint.")
@click.option("--output", type=FOLDER, required=True, help="Such as exported_models/NAME.")
@click.option(
    "--tflite",
    metavar="VARIANTS",
    help="Of float32, float16, dynamic, int8, with commas between.  [default: all]",
)
@click.option(
    "--nms",
    type=click.Choice(["regular", "fast"]),
    help="How a .tflite suppresses boxes: within a class, or not.  [default: fast if as accurate]",
)
@INPUT_SIZE
@OVERWRITE
def export(
    run: Path,
    output: Path,
    tflite: str | None,
    nms: str | None,
    input_size: int | None,
    overwrite: bool,
) -> None:
    """Write a run's best checkpoint as SavedModel and, for SSD models, TFLite.

    A .tflite goes into an Android app as it is: class names and normalization are in it. The table
    at the end holds each against the checkpoint, on 50 pictures of the val split.

    \b
    Example:
      tfod export --run runs/signs --output exported_models/signs
    """
    from tfod.export import PARITY, export
    from tfod.tflite_export import VARIANTS

    variants = tflite.split(",") if tflite is not None else None
    for variant in variants or ():
        if variant not in VARIANTS:
            raise UserError("--tflite", f"is {tflite!r}", f"Give some of {','.join(VARIANTS)}")

    def note(text: str) -> None:
        click.echo(f"note: {text}", err=True)

    export(run, output, overwrite, input_size, variants, nms, bar("models"), note)
    for path in sorted(output.iterdir()):
        size = sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file())
        click.echo(f"{size / 1e6:8.2f} MB  {path}")
    if (output / PARITY).is_file():
        _print_parity(output / PARITY)


def _print_parity(path: Path) -> None:
    import pandas as pd

    def cell(value: float, form: str) -> str:
        return "-" if pd.isna(value) else f"{value:{form}}"

    forms = {"MB": ".2f", "AP50": ".3f", "box_difference": ".5f", "unlike": ".1%"}
    table(
        ["model", "MB", "AP50", "box off", "unlike", "ms, 1 thread", "2 threads"],
        [
            [row.pop("model"), *(cell(v, forms.get(name, ".1f")) for name, v in row.items())]
            for row in pd.read_csv(path).to_dict("records")
        ],
    )


@main.command()
@click.option("--model", type=FOLDER, required=True, help="Export folder, .tflite, or run folder.")
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True)
@click.option(
    "--tiles",
    type=click.IntRange(32),
    metavar="PIXELS",
    help="Look at squares of this size one by one: small things in large pictures.",
)
@click.option("--output", type=FOLDER, help="Folder for pictures and videos with boxes.")
@click.option("--json", "json_file", type=FOLDER, help="File in COCO's results format.")
@click.option("--csv", "csv_file", type=FOLDER, help="File with a row a detection, in pixels.")
@click.option("--voc", type=FOLDER, help="Folder for PASCAL VOC XML, to correct in LabelImg.")
@click.option("--save-crops", type=FOLDER, help="Folder for each object cut out.")
@OVERWRITE
@click.argument("inputs", nargs=-1, required=True, type=FOLDER, metavar="IMAGE|DIR|VIDEO...")
def predict(
    model: Path,
    threshold: float,
    tiles: int | None,
    output: Path | None,
    json_file: Path | None,
    csv_file: Path | None,
    voc: Path | None,
    save_crops: Path | None,
    overwrite: bool,
    inputs: tuple[Path, ...],
) -> None:
    """Find objects in pictures and videos, print them, and draw them with --output.

    \b
    Example:
      tfod predict --model exported_models/signs street.jpg --output predictions
    """
    from tfod import prediction_outputs as outputs
    from tfod.detector import Detector
    from tfod.prediction import find_sources, predict_sources

    sources = find_sources(inputs)
    detector = Detector.load(model)
    faults: list[UserError] = []
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(writer)
            for place, writer in (
                (output, output and outputs.drawn_pictures(output, overwrite)),
                (json_file, json_file and outputs.coco_results(json_file)),
                (csv_file, csv_file and outputs.csv_table(csv_file)),
                (voc, voc and outputs.voc_folder(voc, overwrite)),
                (save_crops, save_crops and outputs.crops(save_crops, overwrite)),
            )
            if place is not None
        ]
        predictions = predict_sources(detector, sources, threshold, tiles, faults.append)
        total = sum(source.frames for source in sources)
        for found in bar("pictures", total)(predictions):
            for write in writers:
                write(found)
            click.echo(_found(found))
    for place in (output, json_file, csv_file, voc, save_crops):
        if place is not None:
            click.echo(f"written: {place}")
    if faults:
        raise BadFilesError("pictures", faults, "Mend them; the others were looked at")


def _found(prediction) -> str:
    detections = prediction.detections
    text = ", ".join(
        f"{name} {score:.0%}"
        for name, score in zip(detections.names, detections.scores, strict=True)
    )
    frame = "" if prediction.frame is None else f" frame {prediction.frame}"
    return f"{prediction.path}{frame}: {text or 'nothing'}"


@main.command()
@click.option("--model", type=FOLDER, required=True, help="A .tflite that export wrote.")
@click.option("--host", default="localhost", show_default=True, help="0.0.0.0 for the network.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--output", type=FOLDER, help="Write the page here and do not serve it.")
@OVERWRITE
def live(model: Path, host: str, port: int, output: Path | None, overwrite: bool) -> None:
    """Run a detector on a camera, in a browser.

    Browsers open the camera for localhost and https:// only. For a phone, write the page with
    --output and put the folder on any https:// host (GitHub Pages, say); pictures stay on the
    phone, and the page opens without a network once it was loaded.

    \b
    Example:
      tfod live --model exported_models/signs/model.tflite
    """
    import tempfile

    from tfod.files import refuse_existing
    from tfod.live import fetch_mediapipe, serve, write_site
    from tfod.terminal import bytes_bar

    if output is not None:
        refuse_existing(output, overwrite)
    with bytes_bar("MediaPipe") as on_bytes:
        mediapipe = fetch_mediapipe(on_bytes)
    if output is not None:
        click.echo(f"written: {write_site(model, output, mediapipe)}")
        return
    with tempfile.TemporaryDirectory() as folder:
        site = write_site(model, Path(folder) / "site", mediapipe)
        serve(site, host, port, lambda address: click.echo(f"open {address}   (Ctrl-C ends)"))
