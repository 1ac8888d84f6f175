"""What is inside a protobuf message."""

from __future__ import annotations


def is_repeated(field) -> bool:
    """Of a FieldDescriptor; protobuf 5 has no `is_repeated`, and later ones warn of `label`."""
    if hasattr(field, "is_repeated"):
        return field.is_repeated
    return field.label == field.LABEL_REPEATED


def batch_norms(message):
    """Every `batch_norm` message inside a proto."""
    for field, value in message.ListFields():
        if field.name == "batch_norm":
            yield value
        elif field.message_type and not is_repeated(field):
            yield from batch_norms(value)
