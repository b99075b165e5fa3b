"""A gathered run as one HTML document. Every text that comes from a file or a person is escaped here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ...pipeline.audio_file import read_audio, samples_sha256
from ...pipeline.drawing import as_html
from ...pipeline.errors import RequestError
from . import cards, tables
from .facts import RunFacts
from .media import Form, media_of
from .style import SCRIPT, STYLE, policy


@dataclass(frozen=True)
class Page:
    """The document, what it holds, and what could not be had."""

    html: str
    players: int
    takes: int
    embedded_bytes: int
    formats: tuple[str, ...]
    warnings: tuple[str, ...]


def write_page(run: RunFacts, *, form: Form, folder: Path, most: int, say: Callable[[str], None] = lambda _: None) -> Page:
    """The page of a run. `form` says how sounds are there, `folder` is where the page will lie (links start there), at most
    `most` takes get a player, the best first; `say` hears of each one drawn."""
    shown, warnings = _cards(run, form, folder, most, say)
    warnings = [*run.notes, *warnings]
    scored = [c for c in shown if c.take.report]
    anchors = {name: card.anchor for card in shown for name in (card.take.id, *card.also)}
    sections = [
        ("graph", "Graph", _graph(run, warnings)),
        ("takes", "Takes", _takes(shown, form)),
        ("metrics", "Metrics", tables.compare([(c.take.id, c.anchor, c.take.report) for c in scored if c.take.report])),
        ("defects", "Defects", tables.defects([(c.take.id, c.anchor, c.take.report) for c in scored if c.take.report])),
        ("pairs", "Pairs", tables.pairs(run.pairs, anchors)),
        ("all", "All takes and seeds", tables.all_takes(run.takes, anchors)),
        ("made", "How it was made", tables.made(run)),
        ("preset", "Preset", _preset(run)),
    ]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in sections)
    body = "".join(f'<section><h2 id="{name}">{title}</h2>{content}</section>' for name, title, content in sections)
    told = "".join(f'<p class="panel" role="note">{escape(w)}</p>' for w in warnings)
    document = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy(form == "link"))}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(run.preset)} · {escape(run.id)} · Segue</title><style>{STYLE}</style></head><body>"
        f'<a class="skip" href="#takes">To the takes</a><header>{_head(run)}</header><main>'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>{told}{body}</main>'
        f"<footer><p class=faint>{_foot(shown, form)}</p></footer><script>{SCRIPT}</script></body></html>\n"
    )
    formats = tuple(dict.fromkeys(c.media.what for c in shown)) if form != "link" else ("link",) * bool(shown)
    return Page(document, len(shown), len(run.takes), sum(c.media.bytes for c in shown), formats, tuple(warnings))


def _cards(
    run: RunFacts, form: Form, folder: Path, most: int, say: Callable[[str], None]
) -> tuple[list[cards.Card], list[str]]:
    """Takes that have a file, the best first; the same sound under several names (a stage that only chooses) once."""
    warnings: list[str] = []
    heard: dict[str, cards.Card] = {}
    best_first = sorted((t for t in run.takes if t.audio), key=lambda t: (-(t.report.overall if t.report else -1), t.index))
    left_out = 0
    for take in best_first:
        assert take.audio is not None
        try:
            audio = read_audio(take.audio)
        except RequestError as error:
            warnings.append(f"{take.id} has no player: {error}")
            continue
        mark = samples_sha256(audio)
        if mark in heard:
            heard[mark].also.append(take.id)
            continue
        if len(heard) >= most:
            left_out += 1
            continue
        say(take.id)
        media = media_of(audio, take.audio, form, folder)
        heard[mark] = cards.Card(take, f"take-{len(heard)}", audio.rate_hz, audio.channels, media, [])
    if left_out:
        warnings.append(f"takes with a file but without a player here: {left_out}; the {most} best have one (--takes shows more)")
    return list(heard.values()), warnings


def _head(run: RunFacts) -> str:
    facts = [f"run {run.id}", run.status, f"seed {run.seed}", run.created and f"begun {run.created}", run.message]
    state = (
        f"<p>The model is <b>{escape(run.training)}</b>: scores say how the run works, not how music sounds.</p>"
        if run.training and run.training != "trained"
        else ""
    )
    captions = list(dict.fromkeys(t.prompt.get("caption") or "" for t in run.takes))
    told = "".join(f"<p>“{escape(c)}”</p>" for c in captions[:3] if c)
    more = f"<p class=faint>and {len(captions) - 3} more captions, below</p>" if len(captions) > 3 else ""
    return f"<h1>{escape(run.preset)}</h1><p class=faint>{escape(' · '.join(f for f in facts if f))}</p>{told}{more}{state}"


def _graph(run: RunFacts, warnings: list[str]) -> str:
    from ...presets.loader import load

    try:
        if not run.yaml.strip():
            raise RequestError("its text is not there")
        drawn = as_html(load(run.yaml.rstrip("\n") + "\n"))
    except RequestError as error:
        warnings.append(f"the preset could not be drawn: {error}")
        return "<p>Not drawn; the preset's text is below.</p>"
    return f'<div class="panel graph" tabindex="0" role="region" aria-label="The preset as a graph">{drawn}</div>'


def _takes(shown: Sequence[cards.Card], form: Form) -> str:
    if not shown:
        return "<p>No take of this run has a sound file (a run without --out writes none).</p>"
    note = (
        "The best first. A player that starts stops the one that plays, and goes on from its place. Spectrograms: 0 dB is a "
        "full-scale sine, −110 (black) to −10 dB (light), logarithmic frequency; coloured marks are defects."
    )
    return f'<p class="faint">{note} {_kinds(shown, form)}</p><div class="cards">{"".join(cards.card(c) for c in shown)}</div>'


def _kinds(shown: Sequence[cards.Card], form: Form) -> str:
    if form == "link":
        return "Sounds are linked: the run's own files, which must lie where they lay when this page was written."
    kinds = ", ".join(dict.fromkeys(c.media.what for c in shown))
    size = sum(c.media.bytes for c in shown)
    lossy = "made smaller for this page and not what was scored" if "Vorbis" in kinds else "the scored samples in 16 bit"
    return f"Sounds in this page: {kinds}, {size / 1e6:.2f} MB, {lossy}."


def _preset(run: RunFacts) -> str:
    if not run.yaml:
        return "<p>Not recorded.</p>"
    return f'<pre class="panel" tabindex="0" role="region" aria-label="Preset text">{escape(run.yaml)}</pre>'


def _foot(shown: Sequence[cards.Card], form: Form) -> str:
    held = _kinds(shown, form) if shown else ""
    return f"Written by segue report. This page loads nothing from any network. {held}"
