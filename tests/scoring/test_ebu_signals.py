"""Every signal of EBU Tech 3341 and 3342 that can be made from its description, at the stated tolerances.

Tech 3341 (table 1) cases 1–6, 9–14 and 15–23, Tech 3342 (table 1) cases 1–4. Not made: 3341 cases 7 and 8 and 3342 cases 5
and 6, which are recordings of programmes. All sines are 1 kHz, stereo in phase, 48 kHz, unless the case says otherwise; levels
are peak levels. The descriptions are those of table 1 of either document (the editions with 23 and 6 cases), each test's
docstring says what was made of them. Cases 1–5 are in `test_loudness_standards`.
"""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest
from scipy.signal import firwin, resample_poly
from segue.scoring.levels import true_peak
from segue.scoring.loudness import loudness, loudness_series
from segue.training.corpus import make_clip

RATE = 48_000
SILENCE = -np.inf


def sequence(*parts: tuple[float, float], channels: int = 2, rate: int = RATE) -> np.ndarray:
    """(dBFS, seconds) of a 1 kHz sine one after another, the same in all channels."""
    level = np.concatenate([np.full(round(s * rate), 10 ** (db / 20)) for db, s in parts])
    wave = level * np.sin(2 * np.pi * 1000 * np.arange(level.size) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def test_3341_case_6_five_channels() -> None:
    """20 s in L, R at −28 dBFS, C at −24, Ls, Rs at −30: integrated −23.0 ± 0.1 LUFS."""
    levels = (-28.0, -28.0, -24.0, -30.0, -30.0)
    x = np.concatenate([sequence((db, 20.0), channels=1) for db in levels])
    assert loudness(x, RATE).integrated == pytest.approx(-23.0, abs=0.1)
    with_lfe = np.insert(x, 3, sequence((0.0, 20.0), channels=1)[0], axis=0)
    assert loudness(with_lfe, RATE).integrated == pytest.approx(-23.0, abs=0.1)


def test_3341_case_9_short_term_of_alternating_levels_is_constant() -> None:
    """−20 dBFS for 1.34 s, −30 for 1.66 s, five times: short-term −23.0 ± 0.1 LUFS, constant after 3 s."""
    x = sequence(*[(-20.0, 1.34), (-30.0, 1.66)] * 5)
    s = loudness_series(x, RATE)
    assert s.short_term_s[0] == pytest.approx(3.0)
    assert s.short_term_s[-1] == pytest.approx(15.0)
    assert s.short_term == pytest.approx(np.full(s.short_term.size, -23.0), abs=0.1)
    assert loudness(x, RATE).short_term_max == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("i", range(20))
def test_3341_case_10_short_term_of_three_seconds_wherever_they_start(i: int) -> None:
    """For meters of files, each i a segment of its own: silence of i·0.15 s, 3 s at −23 dBFS, 1 s of silence: highest
    short-term −23.0 ± 0.1 LUFS."""
    x = sequence((SILENCE, 0.15 * i), (-23.0, 3.0), (SILENCE, 1.0))
    assert loudness(x, RATE).short_term_max == pytest.approx(-23.0, abs=0.1)


def test_3341_case_11_successive_short_term_maxima() -> None:
    """Twenty times: silence of i·0.15 s, 3 s of a tone at −38 + i dBFS, silence filling up to 3 s (i = 0 … 19): the
    highest short-term so far is −38.0, −37.0 … −19.0 ± 0.1 LUFS, one after another."""
    parts: list[tuple[float, float]] = []
    ends, at = [], 0.0
    for i in range(20):
        parts += [(SILENCE, 0.15 * i), (-38.0 + i, 3.0), (SILENCE, 3.0 - 0.15 * i)]
        at += 6.0
        ends.append(at)
    s = loudness_series(sequence(*parts), RATE, every_s=0.01)
    for i, end in enumerate(ends):
        assert s.short_term[s.short_term_s <= end + 1e-9].max() == pytest.approx(-38.0 + i, abs=0.1)


def test_3341_case_12_momentary_of_alternating_levels_is_constant() -> None:
    """−20 dBFS for 0.18 s, −30 for 0.22 s, 25 times: momentary −23.0 ± 0.1 LUFS, constant after 1 s."""
    s = loudness_series(sequence(*[(-20.0, 0.18), (-30.0, 0.22)] * 25), RATE, every_s=0.01)
    late = s.momentary[s.momentary_s >= 1.0]
    assert late.size > 800
    assert late == pytest.approx(np.full(late.size, -23.0), abs=0.1)


@pytest.mark.parametrize("i", range(20))
def test_3341_case_13_momentary_of_a_short_tone_wherever_it_starts(i: int) -> None:
    """For meters of files, each i a segment of its own: silence of i·20 ms, 0.4 s at −23 dBFS, 1 s of silence: highest
    momentary −23.0 ± 0.1 LUFS."""
    x = sequence((SILENCE, 0.02 * i), (-23.0, 0.4), (SILENCE, 1.0))
    assert loudness(x, RATE).momentary_max == pytest.approx(-23.0, abs=0.1)


def test_3341_case_14_successive_momentary_maxima() -> None:
    """Twenty times: silence of i·20 ms, 0.4 s of a tone at −38 + i dBFS, silence filling up to 0.4 s (i = 0 … 19): the
    highest momentary so far is −38.0, −37.0 … −19.0 ± 0.1 LUFS, one after another."""
    parts: list[tuple[float, float]] = []
    for i in range(20):
        parts += [(SILENCE, 0.02 * i), (-38.0 + i, 0.4), (SILENCE, 0.4 - 0.02 * i)]
    s = loudness_series(sequence(*parts), RATE, every_s=0.01)
    for i in range(20):
        assert s.momentary[s.momentary_s <= 0.8 * (i + 1) + 1e-9].max() == pytest.approx(-38.0 + i, abs=0.1)


@pytest.mark.parametrize(
    ("amplitude", "divisor", "degrees", "wanted"),
    [(0.5, 4, 0.0, -6.0), (0.5, 4, 45.0, -6.0), (0.5, 6, 60.0, -6.0), (0.5, 8, 67.5, -6.0), (1.41, 4, 45.0, 3.0)],
    ids=["case15", "case16", "case17", "case18", "case19"],
)
def test_3341_cases_15_to_19_true_peak_of_tones(amplitude: float, divisor: int, degrees: float, wanted: float) -> None:
    """A tone of a fraction of the rate whose samples miss its crests (those of case 15 meet them), faded in and out over 10 ms:
    true peak −6.0 (+3.0 for a crest of 1.41) dBTP, +0.2 / −0.4 dB; stereo."""
    n = np.arange(RATE)
    fade = np.minimum(1.0, np.minimum(n, n[::-1]) / (0.010 * RATE))
    x = np.tile((fade * amplitude * np.sin(2 * np.pi * n / divisor + np.radians(degrees))).astype(np.float32), (2, 1))
    assert wanted - 0.4 <= 20 * np.log10(true_peak(x, RATE)) <= wanted + 0.2


@pytest.mark.parametrize(
    ("offset", "samples_db"), [(0, -0.1), (1, -0.5), (2, -2.5), (3, -0.5)], ids=["case20", "case21", "case22", "case23"]
)
def test_3341_cases_20_to_23_true_peak_of_one_period_between_the_samples(offset: int, samples_db: float) -> None:
    """At four times the rate a tone of a sixth of the rate and amplitude 0.5 that holds one period of a quarter of the rate at
    amplitude 1.0, phase running on, faded in and out; low-passed against aliasing and brought down at each of the four
    offsets: 0.0 dBTP, +0.2 / −0.4 dB. The low-pass is not laid down; this one is flat to 21 kHz, and what it takes off the one
    period's crest (0.1 dB) is part of what is read. The highest sample tells how much a meter of samples would miss."""
    up = 4
    half = np.sin(2 * np.pi * np.arange(1_000 * 6 * up) / (6 * up)) * 0.5  # whole periods: the phase runs on
    fade = np.minimum(1.0, np.arange(half.size) / (0.010 * up * RATE))
    wave = np.concatenate((half * fade, np.sin(2 * np.pi * np.arange(4 * up) / (4 * up)), half * fade[::-1]))
    limited = np.convolve(wave, firwin(321, 22_500, fs=up * RATE), "same")
    sampled = limited[offset::up].astype(np.float32)
    assert 20 * np.log10(np.abs(sampled).max()) == pytest.approx(samples_db, abs=0.1)
    assert -0.4 <= 20 * np.log10(true_peak(np.tile(sampled, (2, 1)), RATE)) <= 0.2


@pytest.mark.parametrize(
    ("levels", "wanted"),
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
    ids=["case1", "case2", "case3", "case4"],
)
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_3342_cases_1_to_4_range(levels: tuple[int, ...], wanted: int, rate: int) -> None:
    """20 s of a tone at each level: loudness range 10, 5, 20, 15 ± 1 LU."""
    assert loudness(sequence(*((float(db), 20.0) for db in levels), rate=rate), rate).range == pytest.approx(wanted, abs=1.0)


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
@pytest.mark.parametrize("seed", [4, 11])
def test_integrated_agrees_with_pyloudnorm_on_composed_music(seed: int, rate: int) -> None:
    """±0.1 LU, with a quiet half so that both gates have work."""
    clip = make_clip(seed, 8.0)
    x = np.asarray(clip.samples, dtype=np.float64)
    if rate != clip.rate_hz:
        up, down = {44_100: (147, 80), 48_000: (2, 1)}[rate]
        x = resample_poly(x, up, down, axis=1)
    x[:, x.shape[1] // 2 :] *= 0.15
    assert loudness(x, rate).integrated == pytest.approx(pyloudnorm.Meter(rate).integrated_loudness(x.T), abs=0.1)


@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_integrated_agrees_with_pyloudnorm_on_noise_speech_and_impulses(rate: int) -> None:
    """Noise, syllable-like bursts of it, clicks over a hum."""
    rng = np.random.default_rng(3)
    t = np.arange(6 * rate) / rate
    noise = 0.1 * rng.standard_normal((2, t.size))
    clicks = 0.02 * np.sin(2 * np.pi * 60 * t) + (np.arange(t.size) % (rate // 3) == 0) * 0.9
    for x in (noise, noise * np.maximum(np.sin(2 * np.pi * 3 * t), 0) ** 2, np.stack([clicks, clicks])):
        assert loudness(x, rate).integrated == pytest.approx(pyloudnorm.Meter(rate).integrated_loudness(x.T), abs=0.1)


def test_a_series_is_what_the_highest_values_are_taken_from() -> None:
    x = sequence((-30.0, 2.0), (SILENCE, 1.0), (-20.0, 2.5), (-40.0, 1.0))
    found, s = loudness(x, RATE), loudness_series(x, RATE, every_s=0.01)
    assert s.momentary.max() == pytest.approx(found.momentary_max, abs=1e-9)
    assert s.short_term.max() == pytest.approx(found.short_term_max, abs=1e-9)
    assert (s.momentary_s[0], s.short_term_s[0]) == (pytest.approx(0.4), pytest.approx(3.0))
    coarse = loudness_series(x, RATE)
    assert coarse.momentary == pytest.approx(s.momentary[::10])
    with pytest.raises(ValueError, match=r"0\.01 s or more"):
        loudness_series(x, RATE, every_s=0.001)


def test_series_of_silence_and_of_the_too_short() -> None:
    assert np.isneginf(loudness_series(np.zeros((2, RATE)), RATE).momentary).all()
    short = loudness_series(np.ones((1, 100)), RATE)
    assert short.momentary.size == short.short_term.size == short.momentary_s.size == 0
