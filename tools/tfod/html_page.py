"""Writes an HTML page as one file, with its tables, plots and images, for screen and print."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from PIL import Image

from tfod import figures
from tfod.text import printable

if TYPE_CHECKING:
    import pandas as pd

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; overflow-wrap: break-word; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #888; }
li { margin: .25rem 0; }
img { max-width: 100%; height: auto; }
figure { margin: 0; }
figcaption { font-size: .85rem; color: #555; }
.wide { overflow-x: auto; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr));
  gap: 1rem; }
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr));
  gap: 1rem; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 3rem; margin: 1rem 0; }
.figures b { display: block; font-size: 2rem; line-height: 1.2; }
@media print { body { max-width: none; margin: 0; } figure, table { break-inside: avoid; } }
"""


def write_page(path: Path, title: str, parts: Iterable[str]) -> None:
    """Writes a page.

    Args:
      title: plain text, shown as the heading.
      parts: HTML elements below the heading.
    """
    title = html.escape(printable(title))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style>"
    )
    body = "\n".join((f"<h1>{title}</h1>", *parts))
    page = f'<!doctype html>\n<html lang="en">{head}\n{body}\n</html>\n'
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


def text(value: object) -> str:
    """Returns foreign text, such as a file name, for use in a sentence.

    `bdi` keeps Arabic or Hebrew from changing the order of the words around it.
    """
    return f"<bdi>{html.escape(printable(str(value)))}</bdi>"


def plot(figure: Figure) -> str:
    """Returns a plot as an image element. The alternative text is the title of its first axes."""
    return embed(figures.png(figure), "png", figure.axes[0].get_title())


def photo(image: Image.Image, text: str) -> str:
    """Returns a photo as an image element, compressed as JPEG, with an alternative text."""
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=85)
    return embed(buffer.getvalue(), "jpeg", text)


def embed(data: bytes, kind: str, text: str) -> str:
    """Returns the bytes of an image file as an image element.

    Args:
      kind: MIME subtype, such as "png".
      text: alternative text.
    """
    encoded = base64.b64encode(data).decode()
    return f'<img alt="{html.escape(text)}" src="data:image/{kind};base64,{encoded}">'


def table(frame: pd.DataFrame) -> str:
    """Returns a table as HTML.

    Floats have four significant digits, and missing values are dashes.
    """
    element = frame.to_html(border=0, float_format="{:.4g}".format, na_rep="-")
    return f'<div class="wide">{element}</div>'
