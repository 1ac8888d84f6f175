"""Formats numbers and foreign text for people."""

from __future__ import annotations

import re

# Control characters, line separators, surrogates, and marks that change the direction of text.
INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Escapes what a terminal would act upon, such as color codes in a file name.

    Names of files and classes come from others. Line breaks are escaped, too.
    """
    return INVISIBLE.sub(lambda match: repr(match[0])[1:-1], text)


def share(value: float | None) -> str:
    """Formats a fraction in [0, 1] with three decimals; a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def percent(count: int, total: int) -> str:
    """Formats a count as a percentage of a total; a dash if the total is 0."""
    return f"{count / total:.1%}" if total else "-"
