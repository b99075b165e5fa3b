"""`score`: samples in, `QualityReport` out. The one formula of the overall figure lives here.

Overall, scorer 4:  `10 − Σ points_i·weight_i·(1 − credit_i) − Σ points_d·weight_d·severity_d`, held to 0 …
10, where

- i runs over the good bands of the profile (`profiles.BANDS`), two-sided, full credit inside; a quantity that
  does not exist for the sound (loss in mono of a mono sound) costs nothing;
- d runs over defect types (`profiles.DEFECT_POINTS`), with the worst severity of the type (what lies above `profiles.MILDEST`),
  plus, where there are many places, a little for how much of the time they take;
- no term, however weighted, costs more than `MOST_POINTS` = 3;
- gates: NaN or Inf anywhere, silence (nothing above −70 LUFS), or less than 10 ms make it 0.

Scorer 2 knows more faults than scorer 1: aliasing, false stereo, harmonic distortion, mud, harshness, decoder combs,
tuning, key, tempo and its drift, clicks, cut edges, hum, noise and its bursts, pre-echo, over-compression,
repetition; three of them only against what is `Expected`. Scorer 4 takes nothing off for false stereo, and for phase cancellation
and an offset only what lies above their thresholds (`profiles.MILDEST`). Else the formula is the same.

It is computed as if at −18 LUFS, so a gain changes nothing. Balance and brightness are taken *after* the
steady noise floor is subtracted: hiss can't make a dull sound bright. Knows no file, no model, and no
listener: it says how free of measurable faults a sound is, not whether the music is good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from . import spectrum, stereo
from .analysis import SHORTEST_S, Analysis
from .detectors import detect
from .expected import NOTHING, Expected
from .metrics import METRICS, metric
from .profiles import BANDS, DEFECT_POINTS, MILDEST, MOST_POINTS, PROFILES, TERMS, Profile
from .report import Defect, Metric, QualityReport
from .samples import decibel

SCORER_VERSION = "4"

BASS_HZ = (20.0, 250.0)
MID_HZ = (250.0, 4_000.0)
TREBLE_HZ = (4_000.0, 20_000.0)
NOISE_HZ = (1_500.0, 12_000.0)


def score(
    samples: Any, rate_hz: int, *, profile: Profile = "music", weights: Mapping[str, float] | None = None,
    expected: Expected | None = None,
) -> QualityReport:  # fmt: skip
    """Judge `[C, T]` (torch or numpy, floating, raw: may exceed ±1) at `rate_hz`.

    `profile` chooses the good bands; `weights` multiplies the points of single terms (`profiles.TERMS`; 0
    leaves one out); `expected` says what was asked for and what decoded it, where that is known (the wrong key
    is wrong only against one). NaN, silence and too short sounds give a report with overall 0 that says so; what does
    not exist is None. Raises ValueError for no samples at all, a wrong shape or type, an impossible rate, an
    unknown profile or weight.

    >>> t = np.arange(48_000) / 48_000
    >>> report = score(0.1 * np.sin(2 * np.pi * 1000 * t)[None], 48_000)
    >>> round(report.metrics["crest_db"].value, 2), report.field("stereo_correlation") is None
    (3.01, True)
    """
    check_profile(profile, weights)
    a = Analysis(samples, rate_hz, expected or NOTHING)
    return conclude(a, detect(a), {} if a.non_finite else measure(a), profile, weights)


def conclude(
    a: Analysis,
    defects: tuple[Defect, ...],
    values: Mapping[str, float | None],
    profile: Profile,
    weights: Mapping[str, float] | None,
) -> QualityReport:
    """The report from what was found: `defects` of `detect` and `values` of `measure`; gates and the overall figure, 0 … 10,
    higher is better (for its formula see the module's docstring).

    >>> report = conclude(Analysis(np.zeros((1, 48_000)), 48_000), (), {}, "music", None)
    >>> report.overall, [(d.type, d.start_s, d.end_s) for d in report.defects]
    (0.0, [('silence', 0.0, 1.0)])
    """
    if a.duration_s < SHORTEST_S:
        defects = (*defects, Defect(type="too_short", severity=1.0, start_s=0.0, end_s=a.duration_s))
    elif not a.non_finite and a.silent:
        defects = (Defect(type="silence", severity=1.0, start_s=0.0, end_s=a.duration_s, evidence={"place": "all"}),)
    gated = bool(a.non_finite) or a.duration_s < SHORTEST_S or a.silent
    return QualityReport(
        overall=0.0 if gated else overall(_band_values(a, values), defects, a.duration_s, profile, weights),
        metrics=_metrics(values),
        defects=defects,
        scorer=f"segue-{SCORER_VERSION}/{profile}",
        duration_s=a.duration_s,
        rate_hz=a.rate_hz,
    )


def score_batch(sounds: Iterable[Any], rate_hz: int, **settings: Any) -> list[QualityReport]:
    """`score` of each of several sounds `[C, T]` (lengths may differ) or of a tensor `[B, C, T]`; each as it
    is alone.

    >>> tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)[None]
    >>> loud, soft = score_batch([tone, 0.5 * tone], 24_000)  # a gain changes the loudness, 6.02 LU, and not the score
    >>> loud.overall == soft.overall, round(loud.field("integrated_lufs") - soft.field("integrated_lufs"), 2)
    (True, 6.02)
    """
    return [score(one, rate_hz, **settings) for one in sounds]


def check_profile(profile: str, weights: Mapping[str, float] | None) -> None:
    """Raises ValueError for a profile or a weight that does not exist, naming those that do.

    >>> check_profile("opera", None)
    Traceback (most recent call last):
    ValueError: no profile 'opera'; there is music, speech, effects
    """
    if profile not in PROFILES:
        raise ValueError(f"no profile '{profile}'; there is {', '.join(PROFILES)}")
    for name, value in (weights or {}).items():
        if name not in TERMS:
            raise ValueError(f"no term '{name}' in the overall score; there is {', '.join(TERMS)}")
        if not np.isfinite(value) or value < 0:
            raise ValueError(f"weight of '{name}' is {value}; give 0 or more (1 is the profile's own)")


def measure(a: Analysis) -> dict[str, float | None]:
    """Every metric that needs no reference, by name; None where it does not exist. Units and directions are in `metrics`,
    formulas in the modules they come from.

    >>> t = np.arange(24_000) / 24_000
    >>> found = measure(Analysis((0.1 * np.sin(2 * np.pi * 1_000 * t))[None], 24_000))
    >>> round(found["sample_peak_dbfs"], 2), round(found["crest_db"], 2), found["stereo_correlation"]  # of a mono sound
    (-20.0, 3.01, None)
    """
    return {**figures(a), **sampled_figures(a)}


def sampled_figures(a: Analysis) -> dict[str, float | None]:
    """Metrics that look at the samples themselves; of a long file they are taken section by section.
    Units and directions are in `metrics`.

    >>> t = np.arange(24_000) / 24_000
    >>> x = np.sin(2 * np.pi * 997 * t) + 0.03 * np.sin(2 * np.pi * 2 * 997 * t)
    >>> round(sampled_figures(Analysis(x[None], 24_000))["thd_percent"], 2)
    3.0
    """
    return {"thd_percent": a.thd_percent}


def figures(a: Analysis) -> dict[str, float | None]:
    """Metrics that follow from what the analysis holds (its samples are not looked at), so that a file's can be had
    from the sums over its parts. Units and directions are in `metrics`.

    >>> tone = 0.1 * np.sin(2 * np.pi * 3_000 * np.arange(24_000) / 24_000)
    >>> found = figures(Analysis(np.stack((tone, tone)), 24_000))
    >>> round(found["centroid_hz"], -1), found["stereo_correlation"], found["stereo_width"], found["mono_loss_db"]
    (3000.0, 1.0, 0.0, 0.0)
    """
    x, rate, s, loud = a.samples, a.rate_hz, a.spectra, a.loudness
    pair = a.moments[0]
    peak, true = a.sample_peak, a.true_peak
    return {
        "integrated_lufs": loud.integrated if loud else None,
        "momentary_max_lufs": loud.momentary_max if loud else None,
        "short_term_max_lufs": loud.short_term_max if loud else None,
        "loudness_range_lu": loud.range if loud else None,
        "sample_peak_dbfs": decibel(peak**2) if peak > 0 else None,
        "true_peak_dbtp": decibel(true**2) if true > 0 else None,
        "crest_db": a.crest_db,
        "bass_db": spectrum.band_db(x, rate, *BASS_HZ, spectra=s),
        "mid_db": spectrum.band_db(x, rate, *MID_HZ, spectra=s),
        "treble_db": spectrum.band_db(x, rate, *TREBLE_HZ, spectra=s),
        "centroid_hz": spectrum.centroid_hz(x, rate, spectra=s),
        "flatness": s.flatness,
        "rolloff_hz": spectrum.rolloff_hz(x, rate, spectra=s),
        "bandwidth_hz": a.bandwidth_hz,
        "noise_floor_db": spectrum.noise_floor_db(x, rate, *NOISE_HZ, spectra=s),
        "steadiness_db": spectrum.steadiness_db(x, rate, *NOISE_HZ, spectra=s),
        "stereo_correlation": stereo.correlation(x, rate, pair=pair),
        "stereo_width": stereo.width(x, rate, pair=pair),
        "mono_loss_db": stereo.mono_loss_db(x, rate, pair=pair),
        "dc_offset": a.dc_offset,
        "silence_fraction": a.silence_fraction,
        "clipped_fraction": a.flat_tops.share,
    }


def _metrics(values: Mapping[str, float | None]) -> dict[str, Metric]:
    """All names, always, in the registry's order; those that need a reference or an adapter only when they were
    measured."""
    return {n: metric(n, values.get(n)) for n, facts in METRICS.items() if n in values or facts.always}


def with_metrics(report: QualityReport, values: Mapping[str, float | None]) -> QualityReport:
    """The report with more metrics (for instance those against a reference); overall and defects as they
    were.

    >>> report = QualityReport(overall=7.5, scorer="2", duration_s=1, rate_hz=24_000)
    >>> more = with_metrics(report, {"si_sdr_db": 12.0})
    >>> more.overall, more.metrics["si_sdr_db"].value, more.metrics["si_sdr_db"].higher_is_better
    (7.5, 12.0, True)
    """
    return report.model_copy(update={"metrics": {**report.metrics, **{n: metric(n, v) for n, v in values.items()}}})


def _band_values(a: Analysis, values: Mapping[str, float | None]) -> dict[str, float | None]:
    """What the good bands are about. Balance is taken after subtracting the steady noise floor."""
    x, rate, s = a.samples, a.rate_hz, a.spectra
    clean = s.without_floor(1e-5)
    return {
        "crest": values.get("crest_db"),
        "bass": spectrum.band_db(x, rate, *BASS_HZ, spectra=s, power=clean),
        "mid": spectrum.band_db(x, rate, *MID_HZ, spectra=s, power=clean),
        "treble": spectrum.band_db(x, rate, *TREBLE_HZ, spectra=s, power=clean),
        "flatness": values.get("flatness"),
        "noise": values.get("steadiness_db"),
        "bandwidth": values.get("bandwidth_hz"),
        "mono_loss": values.get("mono_loss_db"),
        "silence": values.get("silence_fraction"),
    }


def deductions(
    bands: Mapping[str, float | None],
    defects: Iterable[Defect],
    duration_s: float,
    profile: Profile = "music",
    weights: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Points each term takes off the ten, by term, 0 … 3; only those above 0. `bands` are the values the good bands are about
    (`profiles.BANDS`), by name. For the formula see the module's docstring.

    >>> clipped = Defect(type="clipping", severity=1.0, start_s=0.0, end_s=10.0)
    >>> deductions({"crest": 12.0, "bandwidth": 9_000.0}, [clipped], 10.0)  # 9 kHz: half way from 2 to 16, half of 2 points
    {'bandwidth': 1.0, 'clipping': 3.0}
    """
    weights = weights or {}
    taken: dict[str, float] = {}
    for name, band in BANDS[profile].items():
        value = bands.get(name)
        if value is not None:
            taken[name] = band.points * weights.get(name, 1.0) * (1.0 - band.credit(value))
    by_type: dict[str, list[Defect]] = {}
    for d in defects:
        by_type.setdefault(d.type, []).append(d)
    for kind, found in by_type.items():
        worst = max(d.severity for d in found)
        time = min(1.0, sum(d.end_s - d.start_s for d in found) / duration_s)
        mildest = MILDEST.get(kind, 0.0)
        strength = min(1.0, max(worst - mildest, 0.0) / (1 - mildest) * (0.8 + 0.2 * time))
        taken[kind] = taken.get(kind, 0.0) + DEFECT_POINTS.get(kind, 0.0) * weights.get(kind, 1.0) * strength
    return {name: min(MOST_POINTS, points) for name, points in taken.items() if points > 0}


def overall(
    bands: Mapping[str, float | None],
    defects: Iterable[Defect],
    duration_s: float,
    profile: Profile = "music",
    weights: Mapping[str, float] | None = None,
) -> float:
    """The formula of the module's docstring, 0 … 10, higher is better, rounded to 0.01 (less is chance).

    >>> hum = Defect(type="hum", severity=0.5, start_s=0.0, end_s=10.0)
    >>> overall({"crest": 12.0, "bandwidth": 9_000.0}, [hum], 10.0)  # 10 − 1 − 0.5 · 0.5
    8.75
    """
    return round(max(0.0, 10.0 - sum(deductions(bands, defects, duration_s, profile, weights).values())), 2)
