"""The page's tables: metrics side by side, defects, pairs and why, every take, how the run was made."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from ...scoring.metrics import METRICS
from ...scoring.pair_schema import Chosen, Pair, Rejected
from ...scoring.plot_field import figure_text
from ...scoring.report import Defect, Metric, QualityReport
from .cards import severity_colour
from .facts import RunFacts, TakeFacts

Column = tuple[str, str, QualityReport]  # the take's id, its place on the page, its report
_TELLING = 0.05  # share of the larger figure by which two sides must differ to be named a reason
_REASONS = 5


def escape(value: object) -> str:
    return html.escape(str(value))


def compare(columns: Sequence[Column]) -> str:
    """A row a metric, a column a take."""
    if not columns:
        return "<p>No take with a file was scored.</p>"
    head = "".join(f'<th scope="col" class="number"><a href="#{a}">{escape(name)}</a></th>' for name, a, _ in columns)
    names = list(dict.fromkeys(name for _, _, report in columns for name in report.metrics))
    overall = [Metric(value=r.overall, unit="0 … 10", higher_is_better=True) for _, _, r in columns]
    rows = _compared("overall", "the mark: 10 less what faults take off", overall)
    for name in names:
        about = METRICS[name].about if name in METRICS else ""
        rows += _compared(name, about, [r.metrics.get(name) for _, _, r in columns])
    note = (
        "★ best of the row, where one way is better; the bar says where a figure lies between the row's lowest and highest; "
        "rows in grey are the same for all."
    )
    return (
        f'<p class="faint">{note}</p><div class="scroll" tabindex="0" role="region" aria-label="Metrics of all takes">'
        f'<table class="compare"><thead><tr><th scope="col">metric</th><th scope="col">unit</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _compared(name: str, about: str, metrics: Sequence[Metric | None]) -> str:
    values = [m.value if m else None for m in metrics]
    known = [v for v in values if v is not None]
    texts = ["–" if v is None else figure_text(v) for v in values]
    first = next((m for m in metrics if m), None)
    differ = len(set(texts)) > 1
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    way = first.higher_is_better if first else None
    best = {True: high, False: low}.get(way) if way is not None and differ and len(known) > 1 else None
    cells = ""
    for value, text in zip(values, texts, strict=True):
        share = 0.0 if value is None or high == low or not differ else 8 + 92 * (value - low) / (high - low)
        won = best is not None and text == figure_text(best)
        star = '<span aria-hidden="true">★ </span><span class="unseen">best: </span>' if won else ""
        exact = "" if value is None else f' data-value="{value!r}"'
        cells += f'<td class="number{" best" if won else ""}" style="--share:{share:.0f}%"{exact}>{star}{escape(text)}</td>'
    label = escape(name.replace("_", " "))
    unit = escape(first.unit if first else "")
    return (
        f'<tr data-metric="{escape(name)}"{"" if differ else " class=same"}><th scope="row" title="{escape(about)}">{label}</th>'
        f"<td>{unit}</td>{cells}</tr>"
    )


def defects(columns: Sequence[Column]) -> str:
    """For each take its defects, worst first, and those of its stems, where it was judged with them."""
    found = [(name, anchor, r) for name, anchor, r in columns if r.defects or any(s.defects for s in r.stems.values())]
    if not found:
        return "<p>None found in the takes shown.</p>" if columns else "<p>Nothing was scored.</p>"
    return "".join(_defects_of(name, anchor, report) for name, anchor, report in found)


def _defects_of(name: str, anchor: str, report: QualityReport) -> str:
    """One take's; a report with stems says of each defect which of them carries it."""
    parts = ""
    if report.defects:
        parts += _defect_table(f"Defects of {name}", report.defects, carried=bool(report.stems))
    for stem, inside in report.stems.items():
        if inside.defects:
            told = f"stem {stem}: {inside.overall:.2f} of 10, {_counted(len(inside.defects))}"
            table = _defect_table(f"Defects of the stem {stem} of {name}", inside.defects, carried=False)
            parts += f'<details class="inner"><summary>{escape(told)}</summary>{table}</details>'
    opened = " open" if len(report.defects) <= 8 else ""
    return (
        f"<details{opened}><summary>{escape(name)}: {_counted(len(report.defects))}</summary>"
        f'<p><a href="#{anchor}">to its player</a></p>{parts}</details>'
    )


def _counted(count: int) -> str:
    return f"{count} defect{'s' * (count != 1)}"


def _defect_table(label: str, items: Sequence[Defect], *, carried: bool) -> str:
    rows = "".join(_defect_row(d, carried) for d in sorted(items, key=lambda d: (-d.severity, d.start_s, d.type)))
    head = _head(("defect", "severity", "from", "to", *(["in the stem"] * carried)), right=("severity", "from", "to"))
    return _region(label, f"<table>{head}<tbody>{rows}</tbody></table>")


def _defect_row(d: Defect, carried: bool) -> str:
    dot = f'<span class="dot" style="background:{severity_colour(d.severity)}"></span>'
    stem = d.evidence.get("stem")
    place = f"<td>{escape(stem)}</td>" if stem else '<td class="faint">none: it arises in the mix</td>'
    return (
        f"<tr><td>{dot} {escape(d.type.replace('_', ' '))}</td>"
        f'<td class="number">{d.severity:.2f}</td><td class="number">{d.start_s:.3f} s</td>'
        f'<td class="number">{d.end_s:.3f} s</td>{place if carried else ""}</tr>'
    )


def pairs(found: Sequence[Pair], anchors: Mapping[str, str]) -> str:
    """Chosen and rejected side by side, the margin, and in what they differ."""
    if not found:
        return "<p>No pair: nothing was scored in a group of two or more, or the scores were equal.</p>"
    parts = []
    for pair in found:
        margin = f"margin {pair.margin:.2f} points of 10" if pair.margin is not None else "no margin recorded"
        sides = _side("Chosen", pair.chosen, anchors) + _side("Rejected", pair.rejected, anchors)
        parts.append(
            f'<div class="panel pair"><p><b>{escape(margin)}</b> <span class="faint">{escape(pair.strategy)}, judged by '
            f'{escape(pair.labeller)}</span></p><div class="sides">{sides}</div>{_why(pair)}</div>'
        )
    return "".join(parts)


def _side(word: str, side: Chosen | Rejected, anchors: Mapping[str, str]) -> str:
    name = (side.provenance.take if side.provenance else "") or side.audio_path
    shown = f'<a href="#{anchors[name]}">{escape(name)}</a>' if name in anchors else escape(name)
    return f"<div><h3>{word}: {shown}</h3><p>score {side.quality_score:.2f}, seed {side.generation_params.seed}</p></div>"


def _why(pair: Pair) -> str:
    better, worse = reasons(pair)
    faults = f"defects of the rejected one: {', '.join(pair.rejected.defects)}" if pair.rejected.defects else ""
    lines = [*([faults] if faults else []), *better]
    told = "".join(f"<li>{escape(line)}</li>" for line in lines) or "<li>no single metric stands out; the mark adds up many</li>"
    against = f"<p class=faint>The rejected one is better in {escape('; '.join(worse))}.</p>" if worse else ""
    return f"<p>The pair follows from the scores alone. What stands behind them:</p><ul>{told}</ul>{against}"


def reasons(pair: Pair) -> tuple[list[str], list[str]]:
    """Metrics that have a better way and in which the sides differ by 5 % or more, the largest difference first: those in which
    the chosen one is better, and those in which the rejected one is."""
    found: list[tuple[float, bool, str]] = []
    for name, facts in METRICS.items():
        a, b = pair.chosen.quality_report.get(name), pair.rejected.quality_report.get(name)
        if a is None or b is None or facts.higher_is_better is None or a == b:
            continue
        share = abs(a - b) / max(abs(a), abs(b))
        if share >= _TELLING:
            text = f"{name.replace('_', ' ')} {figure_text(a)} against {figure_text(b)} {facts.unit}".rstrip()
            found.append((share, (a > b) == facts.higher_is_better, text))
    found.sort(key=lambda f: (-f[0], f[2]))
    return [t for _, won, t in found if won][:_REASONS], [t for _, won, t in found if not won][:_REASONS]


def all_takes(takes: Sequence[TakeFacts], anchors: Mapping[str, str]) -> str:
    """Every take the run made, in the order it was made."""
    if not takes:
        return "<p>The run has made no take.</p>"
    rows = ""
    for t in takes:
        name = f'<a href="#{anchors[t.id]}">{escape(t.id)}</a>' if t.id in anchors else escape(t.id)
        score = f"{t.report.overall:.2f}" if t.report else "–"
        exact = f' data-value="{t.report.overall!r}"' if t.report else ""
        file = escape(t.audio.name) if t.audio else "–"
        rows += (
            f'<tr data-take="{escape(t.id)}"><th scope="row">{name}</th><td class="number">{t.seed}</td>'
            f'<td class="number">{t.duration_s:.2f} s</td><td class="number"{exact}>{score}</td><td>{file}</td>'
            f'<td class="long">{escape(t.prompt.get("caption") or "")}</td></tr>'
        )
    head = _head(("take", "seed", "length", "score", "file", "caption"), right=("seed", "length", "score"))
    return _region("Every take", f"<table>{head}<tbody>{rows}</tbody></table>")


def made(run: RunFacts) -> str:
    """Stages with what they took, then the run's settings."""
    names = ("name", "type", "variant", "takes", "cached", "steps_run", "forwards", "seconds")
    numbers = ("takes", "cached", "steps_run", "forwards", "seconds")
    rows = ""
    for stage in run.stages:
        cells = (f"<td{' class=number' * (n in numbers)}>{_cell(stage.get(n))}</td>" for n in names)
        rows += f"<tr>{''.join(cells)}</tr>"
    stages = _region("Stages", f"<table>{_head(names, right=numbers)}<tbody>{rows}</tbody></table>")
    facts = {"run": run.id, "seed": run.seed, **run.settings}
    items = "".join(f'<tr><th scope="row">{escape(k)}</th><td class="long">{_cell(v)}</td></tr>' for k, v in facts.items())
    return f"{stages}<p></p>{_region('Settings', f'<table><tbody>{items}</tbody></table>')}"


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:.2f}" if isinstance(value, float) else escape(value)


def _head(names: Sequence[str], right: Sequence[str] = ()) -> str:
    cells = "".join(f'<th scope="col"{" class=number" * (n in right)}>{escape(n.replace("_", " "))}</th>' for n in names)
    return f"<thead><tr>{cells}</tr></thead>"


def _region(label: str, table: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{table}</div>'
