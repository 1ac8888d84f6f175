"""`tfod zoo`: what there is to start from."""

from __future__ import annotations

import contextlib

import click

from tfod.commands.tables import table


@click.command()
def zoo() -> None:
    """List the models of the TensorFlow 2 model zoo, trained on COCO, to start from.

    A template fetches its own the first time it is trained. Another one is fetched by its name.

    \b
    Example:
      tfod train --init faster_rcnn_resnet101_v1_640x640_coco17_tpu-8 --data data/signs \\
        --pipeline my/pipeline.config --output runs/signs
    """
    from tfod.errors import UserError
    from tfod.model import zoo
    from tfod.model.templates import template_names

    starting = set()
    for template in template_names():
        with contextlib.suppress(UserError):  # one has nothing to start from
            starting.add(zoo.archive_for(template))
    archives = zoo.archives()
    table(
        ["archive", "mAP", "ms", "here"],
        [
            [
                f"{each.name} *" if each in starting else each.name,
                "-" if each.coco_map is None else each.coco_map,
                "-" if each.speed_ms is None else each.speed_ms,
                "yes" if each.folder.is_dir() else "",
            ]
            for each in archives
        ],
    )
    click.echo(
        "*: what a template starts from. mAP: on COCO, of key points where the name has kpts.\n"
        f"ms: a picture on the zoo's GPU. here: fetched already, to {archives[0].folder.parent}"
    )
