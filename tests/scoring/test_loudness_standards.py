"""Loudness against the standards' own signals (EBU Tech 3341, 3342), against pyloudnorm, and its invariants."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfreqz
from segue.scoring.loudness import channel_weights, k_weighting, loudness

RATE = 48_000


def tones(*parts: tuple[float, float], rate: int = RATE, f: float = 1000.0) -> np.ndarray:
    """Stereo sine in phase, (dBFS, seconds) one after another."""
    level = np.concatenate([np.full(round(s * rate), 10 ** (db / 20)) for db, s in parts])
    return np.tile((level * np.sin(2 * np.pi * f * np.arange(level.size) / rate)).astype(np.float32), (2, 1))


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        (((-23.0, 20.0),), -23.0),
        (((-33.0, 20.0),), -33.0),
        (((-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)), -23.0),
        (((-72.0, 10.0), (-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0), (-72.0, 10.0)), -23.0),
        (((-26.0, 20.0), (-20.0, 20.1), (-26.0, 20.0)), -23.0),
    ],
    ids=["case1", "case2", "case3", "case4", "case5"],
)
def test_ebu_3341_integrated(parts: tuple[tuple[float, float], ...], wanted: float) -> None:
    assert loudness(tones(*parts), RATE).integrated == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 96_000, 192_000])
def test_a_reference_tone_reads_the_same_at_any_rate(rate: int) -> None:
    found = loudness(tones((-23.0, 5.0), rate=rate, f=997.0), rate)
    assert found.integrated == pytest.approx(-23.0, abs=0.1)
    assert found.momentary_max == pytest.approx(-23.0, abs=0.1)
    assert found.short_term_max == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(
    ("levels", "wanted"),
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
)
def test_ebu_3342_range(levels: tuple[int, ...], wanted: int) -> None:
    assert loudness(tones(*((float(db), 20.0) for db in levels)), RATE).range == pytest.approx(wanted, abs=1.0)


def test_the_weighting_is_the_table_at_48_khz_and_the_same_curve_elsewhere() -> None:
    table = [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
    ]
    np.testing.assert_allclose(k_weighting(48_000), table, rtol=0, atol=1e-12)
    f = np.geomspace(20, 10_000, 60)
    _, here = sosfreqz(k_weighting(48_000), f, fs=48_000)
    for rate in (44_100, 96_000):
        _, there = sosfreqz(k_weighting(rate), f, fs=rate)
        assert np.abs(20 * np.log10(np.abs(there / here))).max() < 0.1


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_pyloudnorm(musician, rate: int, seed: int) -> None:
    x = musician(3.0, seed, rate)
    x = x * np.linspace(0.05, 1.0, x.shape[1], dtype=np.float32)
    peer = pyloudnorm.Meter(rate).integrated_loudness(x.T.astype(np.float64))
    assert loudness(x, rate).integrated == pytest.approx(peer, abs=0.1)


@settings(max_examples=15, deadline=None)
@given(gain_db=st.floats(-30, 20), channels=st.integers(1, 8), rate=st.sampled_from([11_025, 32_000, 48_000]))
def test_a_gain_shifts_loudness_by_itself(gain_db: float, channels: int, rate: int) -> None:
    x = 0.1 * np.random.default_rng(channels).standard_normal((channels, rate)).astype(np.float32)
    gain = np.float32(10 ** (gain_db / 20))
    before, after = loudness(x, rate), loudness(x * gain, rate)
    assert after.integrated - before.integrated == pytest.approx(gain_db, abs=0.02)


def test_one_loud_surround_channel_weighs_more_and_the_low_frequency_one_nothing() -> None:
    tone = tones((-23.0, 2.0))[0]
    six = np.zeros((6, tone.size), dtype=np.float32)
    readings = []
    for channel in (0, 3, 4):
        x = six.copy()
        x[channel] = tone
        readings.append(loudness(x, RATE).integrated)
    left, low, surround = readings
    assert low is None
    assert surround - left == pytest.approx(10 * np.log10(1.41), abs=1e-6)
    assert list(channel_weights(2)) == [1.0, 1.0]


def test_what_does_not_exist_is_none() -> None:
    short = loudness(tones((-23.0, 0.39)), RATE)
    assert (short.integrated, short.momentary_max, short.short_term_max, short.range) == (None,) * 4
    faint = loudness(tones((-75.0, 5.0)), RATE)
    assert (faint.integrated, faint.momentary_max, faint.range) == (None, None, None)
    with pytest.raises(ValueError, match="resample up"):
        loudness(np.ones((1, 3_000)), 3_000)
