"""Correlation, width and mono loss: closed forms and the seed's bands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.scoring import stereo

RATE = 48_000


def pair_with(r: float, size: int = RATE) -> np.ndarray:
    """Two channels of exactly correlation `r`."""
    a, b = np.random.default_rng(5).standard_normal((2, size))
    a -= a.mean()
    b -= b.mean()
    b -= a * (a @ b) / (a @ a)
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    return 0.1 * np.stack([a, r * a + np.sqrt(1 - r * r) * b])


@pytest.mark.parametrize("r", [-1.0, -0.71, -0.5, 0.0, 0.4, 1.0])
def test_correlation_width_and_mono_loss_in_closed_form(r: float) -> None:
    x = pair_with(r)
    assert stereo.correlation(x, RATE) == pytest.approx(r, abs=1e-6)
    assert stereo.correlation(x, RATE) == pytest.approx(float(np.corrcoef(x)[0, 1]), abs=1e-6)
    if r > -1:
        assert stereo.width(x, RATE) == pytest.approx(np.sqrt((1 - r) / (1 + r)), abs=1e-3)
        assert stereo.mono_loss_db(x, RATE) == pytest.approx(-10 * np.log10((1 + r) / 2), abs=1e-4)
    else:
        assert stereo.width(x, RATE) is None
        assert stereo.mono_loss_db(x, RATE) == stereo.NO_MONO_DB


@pytest.mark.parametrize(("r", "band"), [(-0.71, "severe"), (-0.7, "mild"), (-0.3, "mild"), (-0.29, "good"), (1.0, "good")])
def test_the_bands_of_the_seed(r: float, band: str) -> None:
    assert stereo.phase_status(r) == band


@settings(max_examples=25, deadline=None)
@given(left=st.floats(0.01, 10), right=st.floats(0.01, 10), dc=st.floats(-1, 1), size=st.integers(100, 60_000))
def test_correlation_knows_neither_gain_nor_dc(left: float, right: float, dc: float, size: int) -> None:
    x = pair_with(0.5, size)
    y = (x * [[left], [right]] + [[dc], [-dc]]).astype(np.float32)
    assert stereo.correlation(y, RATE) == pytest.approx(0.5, abs=2e-3)


def test_windows_add_up_to_the_whole() -> None:
    x = pair_with(-0.5, 3 * RATE)
    whole, windows = stereo.moments(x, RATE, 0.5)
    assert len(windows) == 6
    assert whole.both == pytest.approx(np.mean([w.both for w in windows]), rel=1e-3)


def test_what_does_not_exist_is_none() -> None:
    one, silent, half = np.ones((1, 100)), np.zeros((2, 100)), np.zeros((2, 100))
    half[0] = np.sin(np.arange(100))
    for figure in (stereo.correlation, stereo.width, stereo.mono_loss_db):
        assert figure(one, RATE) is None
        assert figure(silent, RATE) is None
    assert stereo.correlation(half, RATE) is None
    assert stereo.correlation(np.full((2, 4_800), 0.3), RATE) is None
    assert stereo.mono_loss_db(half, RATE) == pytest.approx(3.0103, abs=1e-3)
    assert stereo.width(half, RATE) == pytest.approx(1.0)
