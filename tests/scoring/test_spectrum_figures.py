"""Spectral figures: closed forms, librosa as a peer, and what silence, gain and filters may and may not change."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt
from segue.scoring import spectrum
from segue.scoring.samples import power
from segue.scoring.spectra import Spectra, frame_energies
from segue.scoring.tonal import thd_percent

RATE = 48_000


def noise(seconds: float = 2.0, channels: int = 1, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, int(seconds * RATE)))).astype(np.float32)


def magnitudes(x: np.ndarray) -> np.ndarray:
    return np.abs(librosa.stft(x, n_fft=2048, hop_length=512, window="hann", center=False))


def test_agrees_with_librosa_on_one_channel(music: np.ndarray) -> None:
    mono = np.ascontiguousarray(music[:1])
    keep = 512 * ((mono.shape[1] - 2048) // 512) + 2048  # whole frames for both
    mono = mono[:, :keep]
    s = magnitudes(mono[0])
    spectra = Spectra.of(mono, RATE)
    assert spectra.active[: s.shape[1]].all()
    np.testing.assert_allclose(spectra.magnitude, s.sum(axis=1), rtol=2e-3)
    total = s.sum(axis=1, keepdims=True)
    given = {"spectra": spectra}
    centroid = float(librosa.feature.spectral_centroid(S=total, sr=RATE, n_fft=2048)[0, 0])
    assert spectrum.centroid_hz(mono, RATE, **given) == pytest.approx(centroid, rel=2e-3)
    rolloff = float(librosa.feature.spectral_rolloff(S=total, sr=RATE, n_fft=2048, roll_percent=0.985)[0, 0])
    assert spectrum.rolloff_hz(mono, RATE, **given) == pytest.approx(rolloff, abs=RATE / 2048 * 1.01)
    flat = float(librosa.feature.spectral_flatness(S=s, power=2.0, amin=1e-20).mean())
    assert spectrum.flatness(mono, RATE, **given) == pytest.approx(flat, rel=0.02)


@pytest.mark.parametrize("f", [100.0, 1_000.0, 9_000.0])
def test_a_tone_lies_in_its_own_band(f: float) -> None:
    x = 0.3 * np.sin(2 * np.pi * f * np.arange(RATE) / RATE)[None]
    bands = {"low": (20, 250), "mid": (250, 4_000), "high": (4_000, 20_000)}
    found = {n: spectrum.band_db(x, RATE, *b) for n, b in bands.items()}
    home = next(n for n, (low, high) in bands.items() if low <= f < high)
    assert found[home] == pytest.approx(0.0, abs=0.05)
    assert all(v < -30 for n, v in found.items() if n != home)
    assert spectrum.centroid_hz(x, RATE) == pytest.approx(f, rel=0.05)


def test_white_noise_has_the_known_flatness_and_balance() -> None:
    x = noise()
    assert spectrum.flatness(x, RATE) == pytest.approx(np.exp(-np.euler_gamma), abs=0.01)
    assert spectrum.band_db(x, RATE, 4_000, 20_000) == pytest.approx(10 * np.log10(16 / 24), abs=0.1)
    assert spectrum.centroid_hz(x, RATE) == pytest.approx(12_000, rel=0.01)
    assert spectrum.steadiness_db(x, RATE) > -3.5  # up to 3 dB low on one channel


@pytest.mark.parametrize("cutoff", [3_000, 6_000, 10_000, 15_000])
def test_the_edge_of_a_low_pass_is_found(music: np.ndarray, cutoff: int) -> None:
    assert spectrum.bandwidth_hz(music, RATE) == RATE / 2
    for x in (music, noise(channels=2)):
        cut = sosfilt(butter(10, cutoff, fs=RATE, output="sos"), x).astype(np.float32)
        assert spectrum.bandwidth_hz(cut, RATE) == pytest.approx(cutoff, rel=0.15)


def test_hiss_over_a_cut_does_not_hide_the_edge(music: np.ndarray) -> None:
    cut = sosfilt(butter(10, 6_000, fs=RATE, output="sos"), music).astype(np.float32)
    hissed = cut + noise(music.shape[1] / RATE, 2, 3) * np.float32(0.02)
    assert spectrum.bandwidth_hz(hissed, RATE) == pytest.approx(6_000, rel=0.15)
    assert spectrum.rolloff_hz(hissed, RATE) > 12_000  # which the roll-off does not survive


def test_a_gentle_slope_is_no_edge() -> None:
    gentle = sosfilt(butter(1, 2_000, fs=RATE, output="sos"), noise()).astype(np.float32)
    assert spectrum.bandwidth_hz(gentle, RATE) > 20_000  # near half the rate the digital filter has a zero


@pytest.mark.parametrize("snr", [40, 30, 20])
def test_the_noise_floor_rises_with_hiss_and_is_about_right(music: np.ndarray, snr: int) -> None:
    hiss = noise(music.shape[1] / RATE, 2, 3)
    hiss *= np.sqrt(power(music) / power(hiss)) * 10 ** (-snr / 20)
    added = -snr + 10 * np.log10(10.5 / 24)  # what of it lies in 1.5–12 kHz
    before, after = spectrum.noise_floor_db(music, RATE), spectrum.noise_floor_db(music + hiss, RATE)
    expected = 10 * np.log10(10 ** (before / 10) + 10 ** (added / 10))
    assert after == pytest.approx(expected, abs=5.0)
    assert after > before
    assert spectrum.steadiness_db(music + hiss, RATE) > spectrum.steadiness_db(music, RATE) + 1.0


def test_a_filter_does_not_hide_noise() -> None:
    x = noise(4.0, 2)
    dark = sosfilt(butter(2, 3_000, fs=RATE, output="sos"), x).astype(np.float32)
    assert spectrum.steadiness_db(dark, RATE) == pytest.approx(spectrum.steadiness_db(x, RATE), abs=0.3)


@settings(max_examples=10, deadline=None)
@given(gain=st.floats(0.01, 4.0), channels=st.integers(1, 8), rate=st.sampled_from([8_000, 44_100, 192_000]))
def test_gain_changes_no_figure(gain: float, channels: int, rate: int) -> None:
    x = np.random.default_rng(channels).standard_normal((channels, 20_000)).astype(np.float32) * 0.1
    y = x * np.float32(gain)
    for figure in (spectrum.centroid_hz, spectrum.rolloff_hz, spectrum.flatness, spectrum.bandwidth_hz):
        assert figure(y, rate) == pytest.approx(figure(x, rate), rel=1e-4)
    assert 0 <= spectrum.centroid_hz(x, rate) <= rate / 2


def test_silence_around_changes_almost_nothing(music: np.ndarray) -> None:
    padded = np.pad(music, ((0, 0), (RATE, 3 * RATE)))
    for figure in (spectrum.centroid_hz, spectrum.rolloff_hz, spectrum.flatness):
        assert figure(padded, RATE) == pytest.approx(figure(music, RATE), rel=0.02)


def test_inverting_a_channel_hides_nothing(music: np.ndarray) -> None:
    inverted = music * np.array([[1], [-1]], dtype=np.float32)
    np.testing.assert_allclose(Spectra.of(inverted, RATE).power, Spectra.of(music, RATE).power, rtol=1e-5)


def test_frame_energies_are_means_over_frames() -> None:
    x = noise(0.2, 2)
    found = frame_energies(x)
    assert found.size == 1 + (x.shape[1] - 2048) // 512
    for k in (0, 3, found.size - 1):
        frame = x[:, k * 512 : k * 512 + 2048].astype(np.float64)
        assert found[k] == pytest.approx(np.square(frame).sum() / (2 * 2048), rel=1e-6)


@pytest.mark.parametrize("harmonics", [(0.03, 0.04), (0.1, 0.0, 0.05), (0.001,), (0.0,)])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_thd_of_known_harmonics(harmonics: tuple[float, ...], rate: int) -> None:
    phase = 2 * np.pi * 441.3 * np.arange(rate * 2) / rate
    x = np.sin(phase) + sum(a * np.sin((n + 2) * phase + n) for n, a in enumerate(harmonics))
    wanted = 100 * np.sqrt(sum(a**2 for a in harmonics))
    assert thd_percent(0.4 * x[None], rate) == pytest.approx(wanted, abs=0.005 + 0.002 * wanted)


def test_thd_is_none_where_it_means_nothing(music: np.ndarray) -> None:
    saw = 2 * (np.arange(RATE) * 220 / RATE % 1) - 1
    assert thd_percent(music, RATE) is None
    assert thd_percent(noise(), RATE) is None
    assert thd_percent(saw[None], RATE) is None
    assert thd_percent(np.zeros((1, RATE)), RATE) is None
    assert thd_percent(np.ones((1, 100)), RATE) is None


def test_silence_has_no_figures() -> None:
    x = np.zeros((2, RATE))
    for figure in (spectrum.centroid_hz, spectrum.rolloff_hz, spectrum.flatness, spectrum.bandwidth_hz):
        assert figure(x, RATE) is None
    assert spectrum.noise_floor_db(x, RATE) is None
    assert spectrum.steadiness_db(x, RATE) is None
