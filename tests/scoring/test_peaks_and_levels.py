"""Peak, true peak, crest and DC: closed forms, EBU Tech 3341 cases 15–19, and a brute-force peer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly
from segue.scoring import levels

RATE = 48_000


def db(value: float) -> float:
    return 20 * float(np.log10(value))


def faded_sine(amplitude: float, parts_of_rate: float, degrees: float, rate: int = RATE) -> np.ndarray:
    n = np.arange(rate)
    fade = np.minimum(1.0, np.minimum(n, n[::-1]) / 2000)
    return (fade * amplitude * np.sin(2 * np.pi * n / parts_of_rate + np.radians(degrees)))[None].astype(np.float32)


@pytest.mark.parametrize(
    ("amplitude", "divisor", "degrees", "wanted"),
    [(0.5, 4, 0, -6.0), (0.5, 4, 45, -6.0), (0.5, 6, 60, -6.0), (0.5, 8, 67.5, -6.0), (1.41, 4, 45, 3.0)],
)
def test_ebu_3341_true_peak(amplitude: float, divisor: int, degrees: float, wanted: float) -> None:
    found = db(levels.true_peak(faded_sine(amplitude, divisor, degrees), RATE))
    assert wanted - 0.4 <= found <= wanted + 0.2


@pytest.mark.parametrize("rate", [44_100, 96_000, 192_000])
def test_true_peak_where_less_or_no_oversampling_is_due(rate: int) -> None:
    x = faded_sine(0.5, 8, 67.5, rate)
    assert db(levels.true_peak(x, rate)) == pytest.approx(-6.0, abs=0.75 if rate == 192_000 else 0.2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 3000), channels=st.integers(1, 3), burst=st.integers(0, 2999))
def test_leaving_quiet_blocks_out_changes_nothing(seed: int, size: int, channels: int, burst: int) -> None:
    rng = np.random.default_rng(seed)
    x = 0.1 * rng.standard_normal((channels, size)).astype(np.float32)
    x[0, burst % size] *= 8
    kernel = levels._interpolator(4)
    padded = np.pad(x, ((0, 0), (levels._HALF_TAPS, levels._HALF_TAPS)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[0], axis=1)
    everywhere = float(np.abs(windows @ kernel).max())
    expected = max(everywhere, float(np.abs(x).max()))
    assert levels.true_peak(x, RATE) == pytest.approx(expected, rel=1e-5)


def test_true_peak_agrees_with_scipys_resampler(music: np.ndarray) -> None:
    peer = np.abs(resample_poly(music.astype(np.float64), 4, 1, axis=1, window=("kaiser", 8.0))).max()
    assert db(levels.true_peak(music, RATE)) == pytest.approx(db(peer), abs=0.1)


@pytest.mark.parametrize(
    ("wave", "wanted"),
    [
        (np.sin, 3.0103),
        (lambda p: np.sign(np.sin(p + 0.01)), 0.0),
        (lambda p: 1 - np.abs(p % (2 * np.pi) / np.pi - 1) * 2, 4.7712),
    ],
    ids=["sine", "square", "triangle"],
)
def test_crest_of_known_waves(wave, wanted: float) -> None:
    phase = 2 * np.pi * 10 * np.arange(RATE) / RATE
    assert levels.crest_db(0.3 * wave(phase)[None], RATE) == pytest.approx(wanted, abs=0.01)


def test_dc_is_the_worst_channels_mean_with_its_sign() -> None:
    x = np.zeros((3, RATE))
    x[1] -= 0.25
    x[2] += 0.1
    assert levels.dc_offset(x, RATE) == pytest.approx(-0.25)


def test_where_samples_are_not_numbers() -> None:
    x = np.zeros((2, 10), dtype=np.float32)
    assert levels.non_finite_spans(x) == []
    x[0, 2] = np.nan
    x[1, 3] = np.inf
    x[1, 9] = -np.inf
    assert levels.non_finite_spans(x) == [(2, 4), (9, 10)]


def test_silence_has_no_crest_and_no_peak() -> None:
    x = np.zeros((2, 100))
    assert levels.crest_db(x, RATE) is None
    assert levels.true_peak(x, RATE) == 0.0
