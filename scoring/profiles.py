"""Good bands of the measured quantities, for music, speech and effects.

A `Band` gives full credit between `low` and `high`, none beyond `lowest` and `highest`, and a straight line
between. The numbers are working values of scorer version 1, set on synthetic material and general mixing
practice, not fitted to listeners. Knows no sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Profile = Literal["music", "speech", "effects"]
PROFILES: tuple[Profile, ...] = ("music", "speech", "effects")


@dataclass(frozen=True)
class Band:
    """Two-sided good band. `points` is what no credit at all costs of the ten."""

    lowest: float
    low: float
    high: float
    highest: float
    points: float

    def credit(self, value: float) -> float:
        """1 inside the good band, 0 outside the outer limits, linear between."""
        if value < self.low:
            return max(0.0, (value - self.lowest) / (self.low - self.lowest))
        if value > self.high:
            return max(0.0, (self.highest - value) / (self.highest - self.high))
        return 1.0


_ANY = 1e9
_MUSIC = {
    "crest": Band(3.0, 8.0, 24.0, 36.0, 1.0),
    "bass": Band(-40.0, -22.0, -0.15, 0.0, 0.8),
    "mid": Band(-36.0, -18.0, -0.05, 0.0, 0.8),
    "treble": Band(-60.0, -12.0, -5.0, -1.0, 1.5),
    "flatness": Band(-_ANY, -_ANY, 0.15, 0.5, 1.5),
    "noise": Band(-_ANY, -_ANY, -35.0, -2.0, 2.5),
    "bandwidth": Band(2_000.0, 16_000.0, _ANY, 2 * _ANY, 2.0),
    "mono_loss": Band(-1.0, 0.0, 3.0, 6.0, 1.0),
    "silence": Band(-1.0, 0.0, 0.0, 0.6, 2.0),
}
_SPEECH = _MUSIC | {
    "crest": Band(6.0, 11.0, 26.0, 36.0, 1.0),
    "bass": Band(-45.0, -28.0, -2.0, 0.0, 0.8),
    "bandwidth": Band(2_000.0, 12_000.0, _ANY, 2 * _ANY, 2.0),
    "silence": Band(-1.0, 0.0, 0.25, 0.8, 1.5),
}
_EFFECTS = _MUSIC | {
    "crest": Band(2.0, 5.0, 36.0, 60.0, 0.5),
    "bass": Band(-200.0, -150.0, 0.0, 1.0, 0.3),
    "mid": Band(-200.0, -80.0, 0.0, 1.0, 0.3),
    "treble": Band(-90.0, -60.0, 0.0, 1.0, 0.5),
    "flatness": Band(-_ANY, -_ANY, 0.6, 1.0, 0.5),
    "noise": Band(-_ANY, -_ANY, -8.0, 0.0, 0.5),
    "silence": Band(-1.0, 0.0, 0.3, 0.9, 1.5),
}

BANDS: Mapping[str, Mapping[str, Band]] = MappingProxyType({"music": _MUSIC, "speech": _SPEECH, "effects": _EFFECTS})

# Defects that are reported and cost nothing: a filter's run-in or a few milliseconds of hiss hide a cut, a decorrelator makes one
# channel two, and nothing that harms a sound may raise its score.
FREE: tuple[str, ...] = ("cut_start", "cut_end", "false_stereo")

# What any other of severity 1 costs of the ten points.
DEFECT_POINTS: Mapping[str, float] = MappingProxyType(
    {
        "clipping": 3.0,
        "saturation": 2.0,
        "phase_cancellation": 3.0,
        "gap": 2.5,
        "silence": 1.0,
        "dc_offset": 1.0,
        "bandwidth_cut": 1.0,
        "aliasing": 1.5,
        "thd": 0.5,
        "muddy": 1.0,
        "harsh": 1.0,
        "decoder_comb": 1.5,
        "mistuned": 1.0,
        "wrong_key": 1.5,
        "wrong_tempo": 1.5,
        "tempo_drift": 0.7,
        "click": 1.5,
        "hum": 0.5,
        "noise": 1.0,
        "noise_burst": 1.5,
        "pre_echo": 1.0,
        "over_compression": 1.0,
        "repetition": 1.0,
    }
)

# The severity at which a defect is first reported, where that is well above 0: points are taken off for what lies over it, so
# that a sound at a detector's threshold does not gain by falling just below it.
MILDEST: Mapping[str, float] = MappingProxyType({"phase_cancellation": 0.25, "dc_offset": 0.2})

TERMS: tuple[str, ...] = (*_MUSIC, *DEFECT_POINTS)
MOST_POINTS = 3.0  # the cap: however weighted, no single term costs more
