"""Keys, modes, chords and functional harmony, as plain integers (MIDI pitches, semitones, scale degrees from 0)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAJOR_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
}
# From each degree to those that may follow it, with weights: tonic -> anything, subdominant -> dominant -> tonic.
_MAJOR_MOVES = {
    0: ((3, 3), (4, 3), (5, 3), (1, 2), (2, 1)),
    1: ((4, 5), (3, 1)),
    2: ((5, 3), (3, 2)),
    3: ((4, 4), (0, 3), (1, 1)),
    4: ((0, 5), (5, 2), (3, 1)),
    5: ((3, 3), (1, 3), (4, 1)),
    6: ((0, 1),),
}
_MINOR_MOVES = {
    0: ((3, 3), (5, 3), (6, 3), (4, 2)),
    1: ((4, 1),),
    2: ((5, 2), (6, 1)),
    3: ((4, 3), (0, 2), (6, 2)),
    4: ((0, 5), (5, 1)),
    5: ((6, 3), (2, 2), (3, 2), (4, 1)),
    6: ((0, 3), (2, 2), (5, 1)),
}


@dataclass(frozen=True)
class Key:
    """A tonic (pitch class 0–11) and a mode; ``keyscale`` is the name that captions and metadata use."""

    tonic: int
    mode: str

    @property
    def is_minor(self) -> bool:
        return self.mode in ("minor", "dorian")

    @property
    def keyscale(self) -> str:
        names = MINOR_NAMES if self.is_minor else MAJOR_NAMES
        return f"{names[self.tonic]} {'minor' if self.is_minor else 'major'}"

    def pitch(self, degree: int, octave: int = 4) -> int:
        """MIDI pitch of a scale degree (any integer; 7 is an octave up) above the tonic in ``octave``."""
        scale = SCALES[self.mode]
        return 12 * (octave + 1) + self.tonic + 12 * (degree // 7) + scale[degree % 7]


@dataclass(frozen=True)
class Chord:
    """A chord on a scale degree: pitch classes from the root up; ``raised`` marks the dominant's major third."""

    degree: int
    classes: tuple[int, ...]

    @property
    def root(self) -> int:
        return self.classes[0]


def make_chord(key: Key, degree: int, seventh: bool) -> Chord:
    """Stack thirds of the scale; in minor keys the fifth degree gets its leading tone."""
    degrees = (0, 2, 4, 6) if seventh else (0, 2, 4)
    classes = [key.pitch(degree + step) % 12 for step in degrees]
    if key.mode == "minor" and degree == 4:
        classes[1] = (key.tonic + 11) % 12
    return Chord(degree, tuple(classes))


def make_progression(key: Key, chords: int, seventh: bool, rng: np.random.Generator) -> list[Chord]:
    """A walk through the harmonic functions: tonic first, often again halfway, and last a degree that leads back to it."""
    moves = _MINOR_MOVES if key.is_minor else _MAJOR_MOVES
    degrees = [0]
    while len(degrees) < chords:
        options = moves[degrees[-1]]
        weights = np.array([weight for _, weight in options], dtype=float)
        degrees.append(int(options[rng.choice(len(options), p=weights / weights.sum())][0]))
    if chords >= 4 and rng.random() < 0.4:
        degrees[2] = 0
    degrees[-1] = int(rng.choice((4, 4, 4, 6) if key.is_minor else (4, 4, 4, 3)))
    return [make_chord(key, degree, seventh) for degree in degrees]


def nearest(pitch_class: int, around: float) -> int:
    """The MIDI pitch of ``pitch_class`` closest to ``around``."""
    return int(pitch_class + 12 * round((around - pitch_class) / 12))


def voicing(chord: Chord, around: int) -> list[int]:
    """Close position: each chord tone in the octave nearest to ``around``, sorted."""
    return sorted({nearest(pitch_class, around + index) for index, pitch_class in enumerate(chord.classes)})
