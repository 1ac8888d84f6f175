"""Draws text of others in Matplotlib figures, and saves figures."""

from __future__ import annotations

import io
import warnings

from matplotlib.figure import Figure

from tfod.text import printable

MAX_LABEL = 40  # characters


def label(text: str) -> str:
    """Returns a label that Matplotlib shows as text, at most 40 characters long."""
    text = printable(text)
    short = text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"
    shown = f" {short}" if short.startswith("_") else short  # "_" hides a label in the legend
    return shown.replace("$", r"\$")  # "$" starts a formula


def png(figure: Figure) -> bytes:
    """Returns the figure as a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A character that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
