"""Inspects protobuf messages."""

from __future__ import annotations


def is_repeated(field) -> bool:
    """Returns whether a FieldDescriptor is repeated.

    protobuf 5 has no `is_repeated`, and later versions warn that `label` is deprecated.
    """
    if hasattr(field, "is_repeated"):
        return field.is_repeated
    return field.label == field.LABEL_REPEATED


def batch_norms(message):
    """Yields all `batch_norm` messages in a message."""
    for field, value in message.ListFields():
        if field.name == "batch_norm":
            yield value
        elif field.message_type and not is_repeated(field):
            yield from batch_norms(value)
