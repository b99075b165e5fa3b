"""One picture of one sound and its report: waveform, defects, spectrogram, loudness over time, stereo field, figures.

Drawn by matplotlib's object interface (no pyplot, no global figure, matplotlib's own defaults whatever the user has set), so
that the same sound and report give the same bytes. Scales of the spectrogram and of loudness are fixed: pictures of two
sounds can be laid side by side. Measures nothing that is in the report; the numbers come from there.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from . import plot_field
from .loudness import MOMENTARY, SHORT_TERM, SUB_BLOCKS_PER_S, loudness_series
from .report import Defect, QualityReport
from .samples import Array, as_samples
from .time_frequency import CEILING_DB, FLOOR_DB, TimeFrequency, outline, time_frequency

INK, FAINT, WAVE, SECOND = "#1c2530", "#5b6675", "#3b6ea8", "#d1661f"
LUFS_SHOWN = (-60.0, 0.0)
_MOST_LANES = 12  # kinds of defects that get a line of their own
_MOST_CHANNELS = 8
_SHORTEST = 0.004  # a span is drawn at least this share of the length wide: a click in five minutes is still seen
SEVERITY = ListedColormap(matplotlib.colormaps["YlOrRd"](np.linspace(0.3, 1.0, 64)), "severity")


def draw(samples: Any, rate_hz: int, report: QualityReport, path: str | Path, *, title: str | None = None) -> Path:
    """Write the picture of `[C, T]` and its `report` as a PNG at `path` (whose folder must be there); returns the path.

    `title` is the file's name where none is given. Raises ValueError as `figure_png` does, OSError as writing does.

    >>> draw(np.zeros((1, 0)), 24_000, QualityReport(overall=0, scorer="2", duration_s=0, rate_hz=24_000), "nothing.png")
    Traceback (most recent call last):
    ValueError: samples of shape (1, 0): there is no sound in it; give at least one sample
    """
    path = Path(path)
    path.write_bytes(figure_png(samples, rate_hz, report, title=path.stem if title is None else title))
    return path


def figure_png(samples: Any, rate_hz: int, report: QualityReport, *, title: str = "") -> bytes:
    """The picture as PNG bytes, 1240 pixels wide; the same input gives the same bytes (no time, no version in it). With more
    than 8 channels the first 8 waveforms are shown, and the title says so.

    Raises ValueError for what is no sound (see `as_samples`).

    >>> from .scorer import score
    >>> tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)[None]
    >>> figure_png(tone, 48_000, score(tone, 48_000))[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    x = as_samples(samples, rate_hz)
    field = time_frequency(x, rate_hz)
    lanes = _lanes(report)
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script the font hasn't: boxes, no noise
        matplotlib.rcdefaults()
        figure = _figure(x, rate_hz, report, field, lanes, title)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _figure(
    x: Array, rate_hz: int, report: QualityReport, field: TimeFrequency, lanes: list[tuple[str, list[Defect]]], title: str
) -> Figure:
    shown = min(x.shape[0], _MOST_CHANNELS)
    heights = (0.9 + 0.55 * shown, 0.3 + 0.34 * max(len(lanes), 1), 3.3, 1.9, 3.2)
    height = sum(heights) + 2.9
    figure = Figure(figsize=(12.4, height), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        5, 2, width_ratios=(1, 0.016), height_ratios=heights, left=0.135, right=0.935, top=1 - 0.95 / height,
        bottom=0.55 / height, wspace=0.03, hspace=0.42 * 5 / height * 2.2,
    )  # fmt: skip
    _title(figure, x, report, title, height)
    waves, marks, spectrum, loud = (figure.add_subplot(grid[i, 0]) for i in range(4))
    _waveform(waves, x, rate_hz, report)
    _defects(figure, marks, figure.add_subplot(grid[1, 1]), lanes, report)
    _spectrogram(figure, spectrum, figure.add_subplot(grid[2, 1]), field)
    _loudness(loud, x, rate_hz, report)
    for axes in (waves, marks, spectrum, loud):
        axes.set_xlim(0, x.shape[1] / rate_hz)
        axes.tick_params(labelsize=9, colors=INK)
        if axes is not loud:
            axes.tick_params(labelbottom=False)
    loud.xaxis.set_major_formatter("{x:g} s")
    plot_field.draw_bottom(figure, grid[4, :], x, field, report)
    return figure


def _title(figure: Figure, x: Array, report: QualityReport, title: str, height: float) -> None:
    channels = {1: "mono", 2: "stereo"}.get(x.shape[0], f"{x.shape[0]} channels")
    if x.shape[0] > _MOST_CHANNELS:
        channels += f" (the first {_MOST_CHANNELS} shown)"
    facts = f"{report.duration_s:.4g} s  ·  {report.rate_hz} Hz  ·  {channels}  ·  {report.scorer}"
    name = " ".join(title.split())
    name = name if len(name) <= 90 else f"{name[:44]}…{name[-44:]}"
    put: dict[str, Any] = {"color": INK, "va": "top", "parse_math": False}
    figure.text(0.02, 1 - 0.16 / height, name, fontsize=14, weight="bold", **put)
    figure.text(0.02, 1 - 0.47 / height, facts, fontsize=10, **{**put, "color": FAINT})
    figure.text(0.98, 1 - 0.16 / height, f"{report.overall:.2f} / 10", fontsize=16, weight="bold", ha="right", **put)


def _lanes(report: QualityReport) -> list[tuple[str, list[Defect]]]:
    """Defects by kind, the worst kind first; kinds beyond the twelfth share the last line."""
    kinds = report.defect_types()
    lanes = [(kind, [d for d in report.defects if d.type == kind]) for kind in kinds[: _MOST_LANES - (len(kinds) > _MOST_LANES)]]
    rest = kinds[len(lanes) :]
    return [*lanes, (f"{len(rest)} more kinds", [d for d in report.defects if d.type in rest])] if rest else lanes


def _span(defect: Defect, duration_s: float) -> tuple[float, float]:
    """Start and width as drawn."""
    width = max(defect.end_s - defect.start_s, _SHORTEST * duration_s)
    return min(defect.start_s, max(duration_s - width, 0.0)), width


def _waveform(axes: Axes, x: Array, rate_hz: int, report: QualityReport) -> None:
    """Channels below one another, each on the same scale; defects shaded."""
    edges = outline(x[:_MOST_CHANNELS], rate_hz)
    finite = np.abs(edges[np.isfinite(edges)])
    peak = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    times = (np.arange(edges.shape[2]) + 0.5) / edges.shape[2] * x.shape[1] / rate_hz
    for i, (low, high) in enumerate(edges / peak):
        axes.fill_between(times, high - 2.2 * i, low - 2.2 * i, color=WAVE, linewidth=0.6)
        axes.axhline(-2.2 * i, color=FAINT, linewidth=0.4, alpha=0.6)
    for defect in sorted(report.defects, key=lambda d: d.severity):
        start, width = _span(defect, report.duration_s)
        axes.axvspan(start, start + width, color=SEVERITY(defect.severity), alpha=0.4, linewidth=0, zorder=0)
    if not finite.size:
        _say(axes, "no finite sample: all is NaN or Inf")
    elif finite.max() == 0:
        _say(axes, "digital silence")
    names = ["mono"] if len(edges) == 1 else ["left", "right"] if len(edges) == 2 else [f"ch {i + 1}" for i in range(len(edges))]
    axes.set_yticks([-2.2 * i for i in range(len(edges))], names)
    axes.set_ylim(-2.2 * (len(edges) - 1) - 1.12, 1.12)
    top = f"±{peak:.3g} of full scale" if finite.size and finite.max() > 0 else ""
    _head(axes, "Waveform", f"lanes reach {top}" if top else "")


def _defects(figure: Figure, axes: Axes, bar: Axes, lanes: list[tuple[str, list[Defect]]], report: QualityReport) -> None:
    """A line for every kind, so that forty defects don't write over one another."""
    for i, (_, found) in enumerate(lanes):
        for d in sorted(found, key=lambda d: d.severity):
            axes.broken_barh([_span(d, report.duration_s)], (i - 0.36, 0.72), facecolors=[SEVERITY(d.severity)], linewidth=0)
    axes.set_yticks(range(len(lanes)), [_lane_name(*lane) for lane in lanes])
    axes.set_ylim(max(len(lanes), 1) - 0.5, -0.5)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    if not lanes:
        _say(axes, "none found")
        bar.axis("off")
    else:
        scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 1), SEVERITY)
        figure.colorbar(scale, cax=bar, ticks=[0, 1]).ax.tick_params(labelsize=8)
    count, kinds = len(report.defects), len(report.defect_types())
    told = f"{count}, of {kinds} kind{'s' * (kinds != 1)}; the worst kind first; colour is severity, 0 … 1"
    _head(axes, "Defects", told if lanes else "")


def _lane_name(kind: str, found: list[Defect]) -> str:
    name = kind.replace("_", " ")
    name = name if len(name) <= 20 else f"{name[:19]}…"
    return f"{name} ×{len(found)}" if len(found) > 1 else name


def _spectrogram(figure: Figure, axes: Axes, bar: Axes, field: TimeFrequency) -> None:
    times = np.linspace(0, field.duration_s, field.db.shape[1] + 1)
    image = axes.pcolormesh(times, field.edges_hz, field.db, vmin=FLOOR_DB, vmax=CEILING_DB, cmap="magma", rasterized=True)
    axes.set_yscale("log")
    ticks = frequency_ticks(field.edges_hz)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticklabels([hertz(f) for f in ticks])
    axes.set_ylim(field.edges_hz[0], field.edges_hz[-1])
    figure.colorbar(image, cax=bar, extend="both", ticks=np.arange(-110, 0, 20)).ax.tick_params(labelsize=9)
    bar.set_title("dB", fontsize=9, color=INK)
    _head(axes, "Spectrogram", "0 dB is a full-scale sine, channels averaged")
    if field.db.max() <= FLOOR_DB:
        _say(axes, "nothing above −110 dB", "white")


def frequency_ticks(edges_hz: Array) -> list[float]:
    """1, 2, 5 of each decade between the ends, and the upper end's neighbourhood left free of what would touch it.

    >>> frequency_ticks(np.array([30.0, 1_500.0]))
    [50.0, 100.0, 200.0, 500.0, 1000.0]
    """
    all_of_them = [m * 10.0**e for e in range(0, 6) for m in (1, 2, 5)]
    return [f for f in all_of_them if edges_hz[0] <= f <= edges_hz[-1]]


def hertz(f: float) -> str:
    """``50``, ``2 k``: a frequency on an axis.

    >>> hertz(50.0), hertz(2_000.0)
    ('50', '2 k')
    """
    return f"{f:g}" if f < 1000 else f"{f / 1000:g} k"


def _loudness(axes: Axes, x: Array, rate_hz: int, report: QualityReport) -> None:
    low, high = LUFS_SHOWN
    axes.set_ylim(low, high)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylabel("LUFS", fontsize=9, color=INK)
    _head(axes, "Loudness", "BS.1770; a window's figure stands at its middle")
    if rate_hz < 3_500:
        _say(axes, f"loudness does not exist at {rate_hz} Hz")
        return
    series = loudness_series(np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0), rate_hz)
    half_momentary, half_short = (0.5 * width / SUB_BLOCKS_PER_S for width in (MOMENTARY, SHORT_TERM))
    if not series.momentary.size:
        _say(axes, "shorter than one window of 0.4 s")
        return
    metric = report.metrics.get("integrated_lufs")
    value = metric.value if metric else None
    momentary_s, short_s = series.momentary_s - half_momentary, series.short_term_s - half_short
    axes.plot(momentary_s, np.maximum(series.momentary, low - 20), color=WAVE, linewidth=1.0, label="momentary (0.4 s)")
    if series.short_term.size:
        label = "short-term (3 s)"
        axes.plot(short_s, np.maximum(series.short_term, low - 20), color=SECOND, linewidth=2.0, label=label)
    if value is not None:
        axes.axhline(value, color=INK, linestyle="--", linewidth=1.2, label=f"integrated {value:.1f}")
    if not (series.momentary >= low).any():
        _say(axes, f"nothing above {low:g} LUFS".replace("-", "−"))
        return
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=9, ncols=3, frameon=False, borderaxespad=0.1)


def _head(axes: Axes, name: str, note: str) -> None:
    """A panel's name above its left end, and in faint letters what is to be known."""
    made = axes.set_title(name, fontsize=11, weight="bold", loc="left", color=INK)
    if note:
        axes.annotate(note, (1, 0), xycoords=made, xytext=(8, 0.8), textcoords="offset points", fontsize=9, color=FAINT)


def _say(axes: Axes, text: str, color: str = INK) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=11, color=color, parse_math=False)
