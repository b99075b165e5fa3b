"""What is known of a sound before it is measured: what was asked of it, and what made it.

Some faults only exist against an intention: the wrong key, the wrong tempo, the comb of one decoder. Without it
their detectors say nothing. Knows no prompt and no model; plain facts are handed in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CLASSES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1}
_KEY = re.compile(
    r"\s*(?P<letter>[A-Ga-g])[ -]?(?P<accidental>#|♯|♭|b(?![a-z])|sharp|flat|)\s*(?P<mode>major|minor|maj|min|m|M|)\s*"
)


@dataclass(frozen=True)
class Expected:
    """`bpm`: beats a minute asked for. `keyscale`: key asked for, such as "C major" or "F# minor". `strides`: the
    down-sampling ratios of the autoencoder that decoded it, from the waveform inwards. None: not known.

    Raises ValueError for a tempo outside 20 … 400 or strides that are not whole numbers above 0.
    """

    bpm: float | None = None
    keyscale: str | None = None
    strides: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.bpm is not None and not 20 <= self.bpm <= 400:
            raise ValueError(f"expected tempo {self.bpm}: give beats a minute between 20 and 400, or None where it is not known")
        if self.strides is not None and (not self.strides or any(int(s) != s or s < 1 for s in self.strides)):
            raise ValueError(f"strides {self.strides}: give the autoencoder's whole ratios such as (2, 4, 4, 6, 10), or None")


NOTHING = Expected()


def parse_keyscale(text: str | None) -> tuple[int, bool] | None:
    """Pitch class of the tonic (C = 0) and whether it is minor; None for no text, or text that names no major or
    minor key (a prompt may say "dorian" or anything else: then nothing can be held against it).

    >>> parse_keyscale("F# minor"), parse_keyscale("Bb major"), parse_keyscale("Am"), parse_keyscale("D dorian")
    ((6, True), (10, False), (9, True), None)
    """
    match = _KEY.fullmatch(text or "")
    if match is None:
        return None
    mode = match["mode"]
    minor = mode == "m" or mode == "min" or mode == "minor"
    return (_CLASSES[match["letter"].lower()] + _ACCIDENTALS[match["accidental"]]) % 12, minor
