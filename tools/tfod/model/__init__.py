"""Models of the OD API: templates, `pipeline.config`, model zoo, checkpoints and anchors."""

from tfod.model.export_folder import ExportFolder
from tfod.model.pipeline import Options, configure, read_pipeline, write_pipeline
from tfod.model.run_folder import RunFolder
from tfod.model.templates import find_template, template_names

__all__ = [
    "ExportFolder",
    "Options",
    "RunFolder",
    "configure",
    "find_template",
    "read_pipeline",
    "template_names",
    "write_pipeline",
]
