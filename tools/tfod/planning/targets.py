"""Names of what a plan can be asked for. This module is quick to import, for `tfod --help`."""

AUTO_PIPELINE = "auto"  # plan it, instead of a template
PHONE, SERVER = TARGETS = ("phone", "server")  # where the detector will run
