"""Names of templates with a checkpoint in the TensorFlow 2 detection model zoo."""

ZOO = (
    "ssd_mobilenet_v2_320x320",
    "ssd_mobilenet_v2_fpnlite_320x320",
    "ssd_mobilenet_v2_fpnlite_640x640",
    "ssd_resnet50_v1_fpn_640x640",
    "ssd_resnet50_v1_fpn_1024x1024",
    "ssd_resnet101_v1_fpn_640x640",
    "faster_rcnn_resnet50_v1_640x640",
    "faster_rcnn_resnet50_v1_1024x1024",
)
