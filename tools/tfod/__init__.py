"""Train your own object detector with the TensorFlow Object Detection API.

Importing this package makes `import object_detection` work with current releases of Python,
TensorFlow and protobuf (see `tfod.upstream.repairs`). It does not load TensorFlow or protobuf.
"""

from tfod import upstream

upstream.install()
