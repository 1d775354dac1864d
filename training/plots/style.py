"""Colours, the style file and saving: what all pictures share.

Every picture is drawn into a `matplotlib.figure.Figure` or given axes: no window, no global figure list, no style left
behind. Colours are those of Okabe & Ito, which stay apart for colour-blind readers; sequences (buckets) use viridis.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from ...models.files import atomic
from ..errors import TrainingError

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY = "#8C8C8C"
STYLE_FILE = Path(__file__).with_name("figures.mplstyle")
STYLE = dict(matplotlib.rc_params_from_file(STYLE_FILE, use_default_template=False))


def above(ax, **options) -> None:
    """Put the legend above the axes, at the right, where it covers no data."""
    settings = {"ncols": 6, "handlelength": 1.2, "columnspacing": 0.9, "handletextpad": 0.4, "borderaxespad": 0.1}
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), **(settings | options))


def check_picture(path) -> str:
    """Return the format that the name of a picture asks for; refuse one that can't be written."""
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in known:
        raise TrainingError(f"{path}: a picture cannot be written as '.{kind}'; use one of {', '.join(known)}.")
    return kind


def save_figure(figure: Figure, path) -> None:
    """Write a figure in the format of its file name, completely or not at all.

    Raises
    ------
    TrainingError
        If the format is unknown or the file cannot be written.
    """
    path, kind = Path(path), check_picture(path)
    style = {key: STYLE[key] for key in ("pdf.fonttype", "svg.fonttype", "savefig.dpi")}
    try:
        with matplotlib.rc_context(style), atomic(path) as temporary:
            figure.savefig(temporary, format=kind)
    except OSError as error:
        raise TrainingError(f"{path} cannot be written ({error.strerror or error}); choose another file.") from None
