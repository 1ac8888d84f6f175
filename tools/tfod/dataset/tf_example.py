"""`tf.train.Example` without TensorFlow, with the same serialized bytes.

TensorFlow takes seconds to load, longer than the conversion of a small data set. The fields are
those of `tensorflow/core/example/{example,feature}.proto`; only the message names differ, so that
both versions can be loaded in one process.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "tfod.example"


def _file() -> descriptor_pb2.FileDescriptorProto:
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tfod/example.proto", package=PACKAGE, syntax="proto3"
    )

    def add(message, name, number, field_type, type_name=None, **options):
        message.field.add(name=name, number=number, type=field_type, type_name=type_name, **options)

    for name, scalar in (
        ("BytesList", kind.TYPE_BYTES),
        ("FloatList", kind.TYPE_FLOAT),
        ("Int64List", kind.TYPE_INT64),
    ):
        add(file.message_type.add(name=name), "value", 1, scalar, label=kind.LABEL_REPEATED)

    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), 1):
        field = name.replace("List", "_list").lower()
        add(feature, field, number, kind.TYPE_MESSAGE, f".{PACKAGE}.{name}", oneof_index=0)

    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    add(entry, "key", 1, kind.TYPE_STRING)
    add(entry, "value", 2, kind.TYPE_MESSAGE, f".{PACKAGE}.Feature")
    add(
        *(features, "feature", 1, kind.TYPE_MESSAGE, f".{PACKAGE}.Features.FeatureEntry"),
        label=kind.LABEL_REPEATED,
    )

    example = file.message_type.add(name="Example")
    add(example, "features", 1, kind.TYPE_MESSAGE, f".{PACKAGE}.Features")
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())

Example = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.Example"))
