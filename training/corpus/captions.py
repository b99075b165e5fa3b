"""Captions and lyric tags for a song, with varied wording; all words are single tokens of the miniature's tokenizer."""

from __future__ import annotations

import numpy as np

from .composer import Song

_NAMES = {
    "acoustic": ("acoustic drums", "drums", "a drum kit"),
    "electronic": ("electronic drums", "drums", "a drum machine"),
    "brushes": ("brushed drums", "soft drums", "drums"),
    "conga": ("congas", "percussion"),
    "shaker": ("shaker", "percussion"),
    "tambourine": ("tambourine", "percussion"),
    "strings": ("strings", "a string section"),
    "brass": ("brass", "a brass section"),
    "vocals": ("vocals", "a singing voice", "a singer"),
    "electric piano": ("electric piano", "rhodes"),
}
_OPENINGS = ("A {mood} {style} piece", "{mood} {style} music", "A {tempo} {style} track", "{style}, {mood} and {tempo}",
             "An instrumental {style} loop" , "A {mood} and {tempo} {style} song", "{tempo} {mood} {style}")  # fmt: skip
_JOINS = ("with", "featuring", "played by", "built on")


def tempo_word(bpm: int) -> str:
    """A word for the tempo: slow below 85, moderate below 115, fast from 145."""
    return "slow" if bpm < 85 else "moderate" if bpm < 115 else "lively" if bpm < 145 else "fast"


def instrument_names(song: Song, rng: np.random.Generator) -> list[str]:
    """What a listener would call the song's instruments, in random order."""
    names = []
    for track, instrument in song.instruments.items():
        options = _NAMES.get(instrument, (instrument, instrument, track))
        names.append(str(rng.choice(options)))
    return [names[index] for index in rng.permutation(len(names))]


def join_words(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def make_caption(song: Song, rng: np.random.Generator) -> str:
    """One sentence: opening, instruments, sometimes tempo, key or metre."""
    names = instrument_names(song, rng)
    opening = str(rng.choice(_OPENINGS))
    if "vocals" in song.instruments:
        opening = opening.replace("An instrumental", "A sung")
    text = opening.format(mood=song.mood, style=song.style.name, tempo=tempo_word(song.bpm))
    if rng.random() < 0.12:
        text = join_words(names)
    else:
        text = f"{text} {rng.choice(_JOINS)} {join_words(names)}"
    extras = []
    if rng.random() < 0.3:
        extras.append(f"{song.bpm} bpm")
    if rng.random() < 0.3:
        extras.append(f"in {song.key.keyscale}")
    if song.beats == 3 and rng.random() < 0.5:
        extras.append("in 3/4 time")
    if song.swing and rng.random() < 0.4:
        extras.append("with a swing feel")
    if text.startswith("A ") and text[2] in "aeiou":
        text = "An " + text[2:]
    return ", ".join([text[0].upper() + text[1:], *extras]) + ("." if rng.random() < 0.5 else "")


def make_lyrics(song: Song) -> str:
    """Section tags, and the sung syllable where the song has vocals; "[Instrumental]" where it has none."""
    if "vocals" not in song.instruments:
        return "[Instrumental]"
    return "\n".join(f"[{section.name}]\n{' '.join([song.vowel] * 3)}" for section in song.sections)
