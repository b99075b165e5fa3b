"""The lower panels of a sound's picture: goniometer, correlation over frequency, the report's figures as text."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from .report import QualityReport
from .samples import Array
from .stereo import MILD, SEVERE
from .time_frequency import TimeFrequency

INK, FAINT, LINE = "#1c2530", "#5b6675", "#3b6ea8"
_MOST_POINTS = 1_000_000
_CELLS = 161
_FIGURES = (
    "integrated_lufs", "loudness_range_lu", "true_peak_dbtp", "crest_db", "bandwidth_hz", "centroid_hz", "bass_db", "mid_db",
    "treble_db", "noise_floor_db", "stereo_correlation", "stereo_width", "mono_loss_db", "silence_fraction", "clipped_fraction",
)  # fmt: skip


def draw_bottom(figure: Figure, place: Any, x: Array, field: TimeFrequency, report: QualityReport) -> None:
    """The three panels in `place` (a cell of a grid).

    >>> from .scorer import score
    >>> from .time_frequency import time_frequency
    >>> figure, x = Figure(), 0.1 * np.random.default_rng(0).standard_normal((2, 24_000))
    >>> draw_bottom(figure, figure.add_gridspec(1, 1)[0], x, time_frequency(x, 24_000), score(x, 24_000))
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['Stereo field', 'Correlation of left and right', 'Figures']
    """
    grid = place.subgridspec(1, 3, width_ratios=(0.8, 1.25, 1.2), wspace=0.22)
    axes, bands, figures = (figure.add_subplot(grid[0, i]) for i in range(3))
    axes.set_title("Stereo field", fontsize=11, weight="bold", loc="left", color=INK)
    _goniometer(axes, x)
    _correlation(bands, field)
    _figures(figures, report)


def goniometer(left: Array, right: Array) -> Array:
    """How often the pair of samples falls in each of 161 × 161 cells: rows are mid (L+R) from below, columns side (R−L), both
    scaled to the largest of |L| and |R|, so that a corner of the diamond is full deflection. At most a million evenly
    spread samples are looked at; pairs that are not finite are left out.

    >>> ones = np.ones(10)
    >>> cells = goniometer(ones, ones)  # in phase: all on the middle line, at the top
    >>> cells.shape, float(cells[160, 80]), float(cells.sum())
    ((161, 161), 10.0, 10.0)
    """
    step = max(1, -(-left.size // _MOST_POINTS))
    a, b = left[::step].astype(np.float64), right[::step].astype(np.float64)
    kept = np.isfinite(a) & np.isfinite(b)
    a, b = a[kept], b[kept]
    top = max(float(np.abs(a).max(initial=0)), float(np.abs(b).max(initial=0)))
    if top == 0:
        return np.zeros((_CELLS, _CELLS))
    mid, side = (a + b) / (2 * top), (b - a) / (2 * top)
    return np.histogram2d(mid, side, bins=_CELLS, range=((-1, 1), (-1, 1)))[0]


def _goniometer(axes: Axes, x: Array) -> None:
    axes.set_aspect("equal")
    axes.set_xlim(-1.08, 1.08)
    axes.set_ylim(-1.08, 1.08)
    axes.axis("off")
    if x.shape[0] == 1:
        axes.text(0, 0, "mono:\none channel", ha="center", va="center", fontsize=11, color=INK)
        return
    if x.shape[0] > 2:
        axes.text(0, -1.06, f"channels 1 and 2 of {x.shape[0]}", ha="center", va="top", fontsize=9, color=FAINT)
    axes.plot([0, 1, 0, -1, 0], [1, 0, -1, 0, 1], color=FAINT, linewidth=0.8)
    for cross in (((-0.5, 0.5), (0.5, -0.5)), ((-0.5, 0.5), (-0.5, 0.5)), ((0, 0), (-1, 1)), ((-1, 1), (0, 0))):
        axes.plot(*cross, color="#cccccc", linewidth=0.6, zorder=0)
    for label, px, py in (("L", -0.62, 0.62), ("R", 0.62, 0.62), ("mono", 0.24, 0.98), ("side", 0.97, 0.24)):
        axes.text(px, py, label, ha="center", va="center", fontsize=9, color=FAINT)
    counts = goniometer(x[0], x[1])
    if not counts.any():
        text = "silence" if np.isfinite(x[:2]).any() else "no finite\nsample"
        axes.text(0, -0.5, text, ha="center", va="center", fontsize=11, color=INK)
        return
    density = np.log1p(counts)
    shown = np.ma.masked_where(counts == 0, density / density.max() * 0.75 + 0.25)
    axes.imshow(shown, origin="lower", extent=(-1, 1, -1, 1), cmap="Blues", vmin=0, vmax=1, interpolation="nearest", zorder=2)
    if np.array_equal(x[0], x[1]):
        axes.text(0.1, -0.5, "both channels\nare the same", ha="left", va="center", fontsize=9, color=INK, zorder=3)


def _correlation(axes: Axes, field: TimeFrequency) -> None:
    axes.set_title("Correlation of left and right", fontsize=11, weight="bold", loc="left", color=INK)
    axes.set_xscale("log")
    axes.set_xlim(field.edges_hz[0], field.edges_hz[-1])
    axes.set_ylim(-1.08, 1.08)
    ticks = [f for f in (10.0, 100.0, 1000.0, 10_000.0, 100_000.0) if field.edges_hz[0] <= f <= field.edges_hz[-1]]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{f:g} Hz" if f < 1000 else f"{f / 1000:g} kHz" for f in ticks])
    axes.set_yticks((-1, -0.5, 0, 0.5, 1))
    axes.tick_params(labelsize=9, colors=INK)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    if field.correlation is None or not np.isfinite(field.correlation).any():
        text = "mono: nothing to compare" if field.correlation is None else "nothing to compare"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=11, color=INK)
        return
    axes.axhspan(SEVERE, MILD, color="#f6c65b", alpha=0.25, linewidth=0)
    axes.axhspan(-1.08, SEVERE, color="#d7301f", alpha=0.2, linewidth=0)
    axes.plot(field.bands_hz, field.correlation, color=LINE, linewidth=1.6, marker="o", markersize=3.5)


def _figures(axes: Axes, report: QualityReport) -> None:
    axes.axis("off")
    axes.set_title("Figures", fontsize=11, weight="bold", loc="left", color=INK)
    shown = [(name, report.metrics[name]) for name in _FIGURES if name in report.metrics]
    step = 1.0 / len(_FIGURES)
    put: dict[str, Any] = {"transform": axes.transAxes, "va": "top", "fontsize": 9, "color": INK}
    for i, (name, metric) in enumerate(shown):
        value = "–" if metric.value is None else figure_text(metric.value)
        axes.text(0.0, 1 - i * step, name.replace("_", " "), **{**put, "color": FAINT})
        axes.text(0.74, 1 - i * step, value, ha="right", **put)
        axes.text(0.77, 1 - i * step, metric.unit, **{**put, "color": FAINT})


def figure_text(value: float) -> str:
    """Four figures without an exponent where that is short: ``12000``, ``-15.94``, ``0.03448``.

    >>> figure_text(12_000.0), figure_text(-15.9433), figure_text(0.000012)
    ('12000', '-15.94', '1.2e-05')
    """
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"
