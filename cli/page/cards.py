"""One take on the page: player, outline with its defects, spectrogram, what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.colors import to_hex

from ...scoring.plot import SEVERITY, hertz
from ...scoring.report import Defect, QualityReport
from .facts import TakeFacts
from .media import Media

_MARKED = (20.0, 100.0, 1_000.0, 10_000.0)


@dataclass(frozen=True, eq=False)
class Card:
    """A take, its place on the page, and the other names of the same sound."""

    take: TakeFacts
    anchor: str
    rate_hz: int
    channels: int
    media: Media
    also: list[str]


def card(c: Card) -> str:
    """The take as an article."""
    take, report = c.take, c.take.report
    score = f'<span class="score">{report.overall:.2f}<small> / 10</small></span>' if report else "<span>not scored</span>"
    channels = {1: "mono", 2: "stereo"}.get(c.channels, f"{c.channels} channels")
    facts = [f"seed {take.seed}", f"{take.duration_s:.2f} s", f"{c.rate_hz} Hz", channels, c.media.what]
    also = f"<p class=faint>the same sound: {escape(', '.join(c.also))}</p>" if c.also else ""
    caption = take.prompt.get("caption")
    return (
        f'<article class="card" id="{c.anchor}" aria-labelledby="{c.anchor}-name"><header><h3 id="{c.anchor}-name">'
        f"{escape(take.id)}</h3>{score}</header><p class=faint>{escape(' · '.join(facts))}</p>{also}"
        f'<audio controls preload="metadata" src="{escape(c.media.url)}" aria-label="{escape(f"Play {take.id}")}"></audio>'
        f"{_figure(c)}{_chips(report.defects if report else ())}"
        + (f"<p class=faint>{escape(str(caption))}</p>" if caption else "")
        + (_stems(take.id, report.stems) if report and report.stems else "")
        + "</article>"
    )


def severity_colour(severity: float) -> str:
    """``#rrggbb`` on the scale that the pictures use."""
    return to_hex(SEVERITY(severity))


def _figure(c: Card) -> str:
    low, high = float(c.media.edges_hz[0]), float(c.media.edges_hz[-1])
    marks = ""
    for f in _MARKED:
        place = 100 * np.log(f / low) / np.log(high / low)
        if 4 < place < 96:
            marks += f'<span style="bottom:{place:.1f}%" aria-hidden="true">{hertz(f)}{"" if f >= 1000 else " "}Hz</span>'
    text = f"Spectrogram of {c.take.id}: {c.take.duration_s:.2f} seconds, {low:.0f} Hz to {high:.0f} Hz, −110 to −10 dB"
    return (
        f'<figure>{_wave(c)}<div class="spec"><img src="{c.media.picture}" alt="{escape(text)}" loading="lazy">{marks}</div>'
        f'<div class="times" aria-hidden="true"><span>0 s</span><span>{c.take.duration_s / 2:.2f} s</span>'
        f"<span>{c.take.duration_s:.2f} s</span></div></figure>"
    )


def _wave(c: Card) -> str:
    """Outline as an SVG path, with a mark for every defect behind it."""
    low, high = c.media.wave
    top = max(float(np.abs(c.media.wave).max()), 1e-9)
    x = np.arange(low.size) * 1000 / max(low.size - 1, 1)
    edge = [f"{a:.0f},{50 - 46 * b / top:.1f}" for a, b in zip(x, high, strict=True)]
    back = [f"{a:.0f},{50.4 - 46 * b / top:.1f}" for a, b in zip(x[::-1], low[::-1], strict=True)]
    defects = c.take.report.defects if c.take.report else ()
    marks = "".join(_mark(d, c.take.duration_s) for d in sorted(defects, key=lambda d: d.severity))
    told = f"Outline of {c.take.id}; largest sample {top:.3g} of full scale; {len(defects)} defects marked"
    return (
        f'<svg class="wave" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="{escape(told)}">{marks}'
        f'<path d="M{" L".join([*edge, *back])} Z" fill="var(--wave)"/></svg>'
    )


def _mark(d: Defect, duration_s: float) -> str:
    duration_s = max(duration_s, 1e-9)
    width = max(1000 * (d.end_s - d.start_s) / duration_s, 5.0)
    start = min(1000 * d.start_s / duration_s, 1000 - width) if width < 1000 else 0.0
    inside = f", in the stem {d.evidence['stem']}" if d.evidence.get("stem") else ""
    name = escape(f"{d.type}, severity {d.severity:.2f}, {d.start_s:.2f} to {d.end_s:.2f} s{inside}")
    return (
        f'<rect x="{start:.1f}" y="0" width="{min(width, 1000):.1f}" height="100" fill="{severity_colour(d.severity)}" '
        f'fill-opacity="0.55"><title>{name}</title></rect>'
    )


def _chips(defects: tuple[Defect, ...], of: str = "") -> str:
    """The types of defect, the worst first, with the stems that carry them where the report names some."""
    if not defects:
        return ""
    worst: dict[str, list[Defect]] = {}
    for d in defects:
        worst.setdefault(d.type, []).append(d)
    items = ""
    for kind, found in sorted(worst.items(), key=lambda item: (-max(d.severity for d in item[1]), item[0])):
        top = max(d.severity for d in found)
        times = f" ×{len(found)}" if len(found) > 1 else ""
        stems = ", ".join(dict.fromkeys(str(d.evidence["stem"]) for d in found if d.evidence.get("stem")))
        dot = f'<span class="dot" style="background:{severity_colour(top)}"></span>'
        inside = f' <span class="faint">in {escape(stems)}</span>' if stems else ""
        items += f"<li>{dot} {escape(kind.replace('_', ' '))}{times}, {top:.2f}{inside}</li>"
    return f'<ul class="chips" aria-label="{escape(f"Defects{of} with their severity")}">{items}</ul>'


def _stems(take: str, stems: Mapping[str, QualityReport]) -> str:
    """Each stem with its score and its own defects; what the mix hides is named here alone."""
    rows = "".join(
        f'<li data-stem="{escape(name)}"><b>{escape(name)}</b> <span class="number" data-value="{report.overall!r}">'
        f"{report.overall:.2f}<small> / 10</small></span>"
        f"{_chips(report.defects, f' of {name}') or ' <span class=faint>no defects</span>'}</li>"
        for name, report in stems.items()
    )
    return f'<div class="stems"><h4>Stems</h4><ul aria-label="{escape(f"Stems of {take}, each judged alone")}">{rows}</ul></div>'
