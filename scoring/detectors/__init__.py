"""Faults with a place: each detector takes an `Analysis` and gives `Defect`s, severity in [0, 1], times in
seconds.

`DETECTORS` is all of them; a new one is a function in a module of its family, added there (and its points in
`profiles`, if it is to cost any). Knows nothing of the overall score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ..analysis import Analysis
from ..report import Defect
from .click import click
from .dynamics import over_compression
from .edges import cut_end, cut_start
from .found import Detector
from .harmonic import thd
from .hum import hum
from .images import aliasing
from .level import clipping, dc_offset, not_a_number, saturation
from .missing import bandwidth_cut, gap, silence
from .noise import noise, noise_burst
from .pitch import mistuned, wrong_key
from .pre_echo import pre_echo
from .repetition import repetition
from .resonance import decoder_comb, harsh
from .stereo_field import false_stereo, phase_cancellation
from .tempo import tempo_drift, wrong_tempo
from .tonal_balance import muddy

DETECTORS: Sequence[Detector] = (
    clipping,
    saturation,
    dc_offset,
    phase_cancellation,
    gap,
    silence,
    bandwidth_cut,
    aliasing,
    false_stereo,
    thd,
    muddy,
    harsh,
    decoder_comb,
    mistuned,
    wrong_key,
    wrong_tempo,
    tempo_drift,
    click,
    cut_start,
    cut_end,
    hum,
    noise,
    noise_burst,
    pre_echo,
    over_compression,
    repetition,
)


# The seven classes of the framework's first plan, and the types of defect that are of each; the rest (gap, silence, cut_start,
# cut_end, dc_offset, repetition, nan) is of none.
CLASSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "clipping": ("clipping", "saturation", "over_compression"),
        "aliasing": ("aliasing",),
        "phase cancellation": ("phase_cancellation", "false_stereo"),
        "wrong pitch": ("mistuned", "wrong_key"),
        "timing drift": ("tempo_drift", "wrong_tempo"),
        "spectral artifacts": (
            "harsh", "decoder_comb", "bandwidth_cut", "thd", "hum", "noise", "noise_burst", "click", "pre_echo",
        ),
        "muddy mix": ("muddy",),
    }
)  # fmt: skip


def class_of(defect: str) -> str | None:
    """Which of the seven classes a type of defect is of; None for the others.

    >>> class_of("wrong_key"), class_of("saturation"), class_of("gap")
    ('wrong pitch', 'clipping', None)
    """
    return next((name for name, types in CLASSES.items() if defect in types), None)


def detect(a: Analysis, detectors: Sequence[Detector] = DETECTORS) -> tuple[Defect, ...]:
    """All defects, by time and then by type. Where samples are not numbers, those alone are reported.

    >>> x = np.zeros((1, 48_000))
    >>> x[0, 24_000] = np.nan
    >>> [(d.type, d.start_s, d.severity) for d in detect(Analysis(x, 48_000))]
    [('nan', 0.5, 1.0)]
    """
    if a.non_finite:
        return tuple(not_a_number(a))
    found = [d for detector in detectors for d in detector(a)]
    return tuple(sorted(found, key=lambda d: (d.start_s, d.type, d.end_s)))
