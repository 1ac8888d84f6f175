"""Train your own object detector with the TensorFlow Object Detection API.

Importing this package makes `import object_detection` work on today's Python, TensorFlow and
protobuf (see `tfod.upstream.repairs`); it loads neither of them.
"""

from tfod import upstream

upstream.install()
