"""Styles: what tempo, metre, groove and instruments belong together. Data, and nothing but data."""

from __future__ import annotations

from dataclasses import dataclass

# Instruments the synthesiser can play, by ACE-Step track.
INSTRUMENTS: dict[str, tuple[str, ...]] = {
    "drums": ("acoustic", "electronic", "brushes"),
    "percussion": ("shaker", "conga", "tambourine"),
    "bass": ("electric bass", "synth bass", "upright bass"),
    "keyboard": ("piano", "electric piano", "organ"),
    "guitar": ("acoustic guitar", "electric guitar", "nylon guitar"),
    "strings": ("strings", "cello"),
    "brass": ("brass", "trumpet"),
    "woodwinds": ("flute", "clarinet"),
    "synth": ("synth pad", "synth lead", "synth arpeggio"),
    "vocals": ("vocals",),
}


@dataclass(frozen=True)
class Style:
    """One style. ``tracks`` maps a track to its probability; instruments not named are drawn freely."""

    name: str
    bpm: tuple[int, int]
    groove: str
    tracks: dict[str, float]
    instruments: dict[str, tuple[str, ...]]
    swing: float = 0.0
    three_four: float = 0.1
    sevenths: float = 0.2
    minor: float = 0.4
    moods: tuple[str, ...] = ()


STYLES: tuple[Style, ...] = (
    Style("pop", (88, 132), "backbeat",
          {"drums": 0.9, "bass": 0.9, "keyboard": 0.7, "guitar": 0.5, "vocals": 0.5, "synth": 0.4, "strings": 0.2},
          {"drums": ("acoustic", "electronic")}, moods=("bright", "cheerful", "catchy", "hopeful")),
    Style("rock", (100, 168), "rock",
          {"drums": 0.95, "bass": 0.9, "guitar": 0.95, "keyboard": 0.3, "vocals": 0.5},
          {"guitar": ("electric guitar",), "drums": ("acoustic",), "bass": ("electric bass",), "keyboard": ("organ", "piano")},
          three_four=0.03, moods=("driving", "energetic", "heavy")),
    Style("jazz", (76, 180), "swing",
          {"drums": 0.85, "bass": 0.95, "keyboard": 0.8, "brass": 0.5, "woodwinds": 0.4, "guitar": 0.2},
          {"drums": ("brushes", "acoustic"), "bass": ("upright bass",), "brass": ("trumpet",),
           "keyboard": ("piano", "electric piano")},
          swing=0.6, sevenths=1.0, three_four=0.2, moods=("mellow", "smooth", "playful")),
    Style("folk", (76, 132), "light",
          {"guitar": 0.95, "percussion": 0.4, "bass": 0.8, "strings": 0.4, "woodwinds": 0.4, "vocals": 0.5},
          {"guitar": ("acoustic guitar", "nylon guitar"), "bass": ("upright bass",)},
          three_four=0.3, moods=("warm", "gentle", "nostalgic")),
    Style("house", (116, 134), "four",
          {"drums": 1.0, "bass": 0.95, "synth": 0.9, "keyboard": 0.4, "vocals": 0.3, "percussion": 0.3},
          {"drums": ("electronic",), "bass": ("synth bass",)}, three_four=0.0, minor=0.6,
          moods=("danceable", "pulsing", "energetic")),
    Style("ambient", (60, 92), "none",
          {"synth": 0.95, "strings": 0.5, "keyboard": 0.6, "bass": 0.6, "woodwinds": 0.3, "vocals": 0.3},
          {"synth": ("synth pad",), "strings": ("strings",), "bass": ("synth bass", "upright bass")}, minor=0.5, sevenths=0.5,
          moods=("calm", "dreamy", "floating", "spacious")),
    Style("classical", (66, 144), "none",
          {"strings": 0.9, "woodwinds": 0.7, "brass": 0.4, "keyboard": 0.5, "bass": 0.7},
          {"keyboard": ("piano",), "bass": ("upright bass",)}, three_four=0.4,
          moods=("romantic", "solemn", "peaceful", "playful")),
    Style("waltz", (84, 180), "waltz",
          {"strings": 0.7, "keyboard": 0.7, "woodwinds": 0.5, "bass": 0.8, "drums": 0.3},
          {"bass": ("upright bass",), "drums": ("brushes",)}, three_four=1.0, moods=("romantic", "bittersweet", "graceful")),
    Style("funk", (88, 124), "funk",
          {"drums": 1.0, "bass": 1.0, "guitar": 0.7, "keyboard": 0.6, "brass": 0.6, "percussion": 0.4},
          {"guitar": ("electric guitar",), "bass": ("electric bass",), "keyboard": ("electric piano", "organ")},
          swing=0.15, sevenths=0.9, three_four=0.0, moods=("groovy", "syncopated", "punchy")),
    Style("ballad", (60, 84), "backbeat",
          {"keyboard": 0.9, "strings": 0.6, "vocals": 0.7, "drums": 0.5, "bass": 0.85, "guitar": 0.3},
          {"keyboard": ("piano", "electric piano"), "drums": ("brushes", "acoustic")},
          three_four=0.2, sevenths=0.4, moods=("tender", "sad", "intimate", "wistful")),
    Style("lofi", (68, 96), "lofi",
          {"drums": 0.95, "keyboard": 0.9, "bass": 0.9, "guitar": 0.3, "vocals": 0.2, "synth": 0.3},
          {"drums": ("electronic", "brushes"), "keyboard": ("electric piano",)}, swing=0.35, sevenths=1.0, minor=0.5,
          three_four=0.0, moods=("relaxed", "mellow", "nostalgic")),
    Style("latin", (90, 150), "latin",
          {"percussion": 0.95, "bass": 0.9, "keyboard": 0.7, "guitar": 0.5, "brass": 0.5, "vocals": 0.3, "drums": 0.3},
          {"percussion": ("conga", "shaker"), "guitar": ("nylon guitar",), "keyboard": ("piano",)},
          sevenths=0.5, three_four=0.0, minor=0.5, moods=("sunny", "lively", "danceable")),
    Style("synthwave", (80, 124), "four",
          {"drums": 0.95, "bass": 0.95, "synth": 1.0, "guitar": 0.2, "vocals": 0.2},
          {"drums": ("electronic",), "bass": ("synth bass",), "guitar": ("electric guitar",)},
          three_four=0.0, minor=0.7, moods=("nostalgic", "dark", "driving")),
    Style("march", (100, 132), "march",
          {"brass": 0.95, "woodwinds": 0.7, "drums": 0.9, "bass": 0.8},
          {"brass": ("brass", "trumpet"), "drums": ("acoustic",)}, three_four=0.0, minor=0.2,
          moods=("heroic", "triumphant", "steady")),
)  # fmt: skip
