"""Formats numbers for people."""

from __future__ import annotations


def share(value: float | None) -> str:
    """Formats a fraction in [0, 1] with three decimals; a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def percent(count: int, total: int) -> str:
    """Formats a count as a percentage of a total; a dash if the total is 0."""
    return f"{count / total:.1%}" if total else "-"
