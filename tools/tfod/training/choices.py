"""Choices that the OD API's pipeline.config cannot express. Quick to import, for `tfod --help`."""

TEMPLATE = "template"  # as the pipeline.config says
# How boxes and scores are trained: `losses`.
LOSSES = (TEMPLATE, TIGHT := "tight")
