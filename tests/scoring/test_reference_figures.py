"""LSD, SI-SDR and chroma similarity: identities, closed forms, and a straightforward second computation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import ShortTimeFFT, butter, get_window, sosfilt
from segue.scoring.reference import chroma_similarity, log_spectral_distance, si_sdr

RATE = 48_000


def notes(pitches: list[int], seconds: float = 0.5, brightness: float = 1.0, gain: float = 0.2) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    tones = []
    for p in pitches:
        f = 440 * 2 ** (p / 12)
        tones.append(sum(np.sin(2 * np.pi * f * h * t) / h**brightness for h in range(1, 6)) * np.exp(-3 * t))
    return gain * np.concatenate(tones)[None]


def test_lsd_agrees_with_a_plain_computation(music: np.ndarray) -> None:
    other = sosfilt(butter(2, 5_000, fs=RATE, output="sos"), music).astype(np.float32)
    plan = ShortTimeFFT(get_window("hann", 2048), 512, RATE)
    count = 1 + (music.shape[1] - 2048) // 512
    inside = music[:, : 512 * (count - 1) + 2048], other[:, : 512 * (count - 1) + 2048]
    spectra = [np.abs(plan.stft(x.astype(float), p0=2, p1=2 + count, k_offset=0)) ** 2 for x in inside]
    ratio = np.log10(np.maximum(spectra[0], 1e-12) / np.maximum(spectra[1], 1e-12))
    expected = np.sqrt((ratio**2).mean(axis=1)).mean()
    assert log_spectral_distance(*inside, RATE, level_match=False) == pytest.approx(expected, rel=2e-3)


@settings(max_examples=10, deadline=None)
@given(gain=st.floats(0.05, 5.0), size=st.integers(1, 20_000), channels=st.integers(1, 3))
def test_lsd_of_a_gain_is_known_and_level_matching_removes_it(gain: float, size: int, channels: int) -> None:
    x = 0.1 * np.random.default_rng(size).standard_normal((channels, size)) + 0.01
    assert log_spectral_distance(x, gain * x, RATE) == pytest.approx(0.0, abs=1e-3)
    if size >= 2048:
        plain = log_spectral_distance(x, gain * x, RATE, level_match=False)
        assert plain == pytest.approx(abs(2 * np.log10(gain)), abs=1e-3)


def test_lsd_of_a_band_sees_only_that_band(music: np.ndarray) -> None:
    cut = sosfilt(butter(10, 6_000, fs=RATE, output="sos"), music).astype(np.float32)
    low = log_spectral_distance(music, cut, RATE, band_hz=(0, 3_000))
    high = log_spectral_distance(music, cut, RATE, band_hz=(8_000, 24_000))
    assert low < 0.3 < 2 < high
    assert log_spectral_distance(music, cut, RATE, band_hz=(30_000, 40_000)) is None


@pytest.mark.parametrize("snr", [-10, 0, 20, 40])
def test_si_sdr_of_known_noise_at_any_scale(snr: int) -> None:
    s, n = np.random.default_rng(0).standard_normal((2, RATE))
    s -= s.mean()
    n -= n.mean()
    n -= s * (s @ n) / (s @ s)
    n *= np.linalg.norm(s) / np.linalg.norm(n) * 10 ** (-snr / 20)
    for scale in (0.01, 1.0, 7.0):
        assert si_sdr(s[None], scale * (s + n)[None]) == pytest.approx(snr, abs=0.01)


def test_si_sdr_limits_and_absences() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4_800))
    assert si_sdr(x, 2 * x) > 100
    assert si_sdr(x, np.zeros_like(x)) is None
    assert si_sdr(np.zeros_like(x), x) is None


def test_chroma_knows_the_melody_and_not_the_sound() -> None:
    tune = [0, 2, 4, 5, 7, 9, 11, 12]
    same = chroma_similarity(notes(tune), notes(tune, brightness=2.5, gain=0.02), RATE)
    octave = chroma_similarity(notes(tune), notes([p - 12 for p in tune]), RATE)
    other = chroma_similarity(notes(tune), notes([p + 6 for p in tune]), RATE)
    assert chroma_similarity(notes(tune), notes(tune), RATE) == pytest.approx(1.0)
    assert same > 0.9
    assert octave > 0.8
    assert other < 0.2


def test_chroma_of_unrelated_music_is_near_nothing() -> None:
    rng = np.random.default_rng(4)
    values = [
        chroma_similarity(notes(list(rng.integers(-12, 12, 8))), notes(list(rng.integers(-12, 12, 8))), RATE) for _ in range(6)
    ]
    assert abs(np.mean(values)) < 0.3


def test_mono_meets_stereo_and_the_longer_is_cut(music: np.ndarray) -> None:
    mono = music[:1]
    assert log_spectral_distance(mono, np.repeat(mono, 2, 0), RATE) == pytest.approx(0.0, abs=1e-6)
    assert si_sdr(mono, np.pad(mono, ((0, 0), (0, 500)))) > 100
    with pytest.raises(ValueError, match="mix one of them"):
        si_sdr(np.ones((2, 10)), np.ones((3, 10)))


def test_silence_has_no_distance() -> None:
    x, none = np.ones((1, 5_000)), np.zeros((1, 5_000))
    assert log_spectral_distance(none, x, RATE) is None
    assert log_spectral_distance(x, none, RATE) is None
    assert chroma_similarity(none, none, RATE) is None
