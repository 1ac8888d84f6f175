"""`tfod zoo`: lists the checkpoints of the model zoo."""

from __future__ import annotations

import contextlib

import click

from tfod.commands.tables import table


@click.command()
def zoo() -> None:
    """List the models of the TensorFlow 2 model zoo, trained on COCO.

    `tfod train` downloads the model of its template to start from. To start from another one, or to
    detect the 80 classes of COCO without training, give its name.

    \b
    Example:
      tfod train --init faster_rcnn_resnet101_v1_640x640_coco17_tpu-8 --data data/signs \\
        --pipeline my/pipeline.config --output runs/signs
      tfod predict --model ssd_mobilenet_v2_320x320_coco17_tpu-8 street.jpg
    """
    from tfod.errors import UserError
    from tfod.model import zoo
    from tfod.model.templates import template_names

    used_by_templates = set()
    for template in template_names():
        with contextlib.suppress(UserError):  # the zoo has no checkpoint for this template
            used_by_templates.add(zoo.archive_for(template))
    archives = zoo.archives()
    table(
        ["archive", "mAP", "ms", "cached"],
        [
            [
                f"{archive.name} *" if archive in used_by_templates else archive.name,
                "-" if archive.coco_map is None else archive.coco_map,
                "-" if archive.speed_ms is None else archive.speed_ms,
                "yes" if archive.folder.is_dir() else "",
            ]
            for archive in archives
        ],
    )
    click.echo(
        "*: a template starts from it. mAP: on COCO, for keypoints if the name contains kpts.\n"
        f"ms: per image, on the zoo's GPU. cached: downloaded to {archives[0].folder.parent}"
    )
