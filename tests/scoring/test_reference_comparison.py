"""STFT distance, envelope correlation, onset agreement and `compare`: closed forms, invariants, peers."""

from __future__ import annotations

import itertools

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt
from segue.scoring.comparison import REFERENCE_METRICS, compare
from segue.scoring.metrics import METRICS
from segue.scoring.onset_agreement import beat_agreement, f_measure, onset_envelope, onsets
from segue.scoring.reference import (
    RESOLUTIONS,
    envelope_correlation,
    log_spectral_distance,
    log_spectral_distances,
    multi_resolution_stft,
)
from segue.training.corpus import make_clip

RATE = 24_000


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return make_clip(3, 4.0).samples


def noise(seconds: float = 0.5, seed: int = 0, channels: int = 1) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, int(seconds * RATE)))).astype(np.float32)


# ---- multi-resolution STFT distance ---------------------------------------------------------------------------------


def peer_stft_distance(a: np.ndarray, b: np.ndarray, eps: float = 1e-7) -> float:
    """The paper's equations by torch.stft, which windows and frames as the paper's own code does."""
    found = []
    for n_fft, hop, length in RESOLUTIONS:
        window = torch.hann_window(length, dtype=torch.float64)
        side = (n_fft - length) // 2  # torch puts the window in the frame's middle: give it the samples it skips
        x, y = (
            torch.stft(
                torch.nn.functional.pad(torch.from_numpy(s.astype(np.float64)), (side, side)), n_fft, hop, length, window,
                center=False, return_complex=True,
            ).abs().square().clamp(min=eps).sqrt()
            for s in (a, b)
        )  # fmt: skip
        found.append(float(torch.linalg.norm(x - y) / torch.linalg.norm(x) + (x.log() - y.log()).abs().mean()))
    return float(np.mean(found))


def test_stft_distance_is_the_papers(clip: np.ndarray) -> None:
    other = sosfilt(butter(2, 3_000, fs=RATE, output="sos"), clip).astype(np.float32)
    mine = multi_resolution_stft(clip, other, RATE, level_match=False)
    assert mine == pytest.approx(peer_stft_distance(clip, other), rel=1e-3)


@settings(max_examples=8, deadline=None)
@given(gain=st.floats(0.05, 5.0), both=st.floats(0.1, 3.0), size=st.integers(2_048, 12_000))
def test_stft_distance_of_a_gain_is_known_and_level_matching_removes_it(gain: float, both: float, size: int) -> None:
    x = noise(seed=size)[:, :size]
    plain = multi_resolution_stft(x, gain * x, RATE, level_match=False, eps=1e-20)
    assert plain == pytest.approx(abs(1 - gain) + abs(np.log(gain)), abs=1e-3)
    assert multi_resolution_stft(x, gain * x, RATE) == pytest.approx(0.0, abs=1e-4)
    y = x + noise(seed=1)[:, :size] * 0.3
    assert multi_resolution_stft(both * x, gain * y, RATE) == pytest.approx(multi_resolution_stft(x, y, RATE), rel=1e-3)


def test_stft_distance_grows_with_what_was_lost(clip: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    hiss = rng.standard_normal(clip.shape).astype(np.float32) * clip.std()
    values = [multi_resolution_stft(clip, clip + a * hiss, RATE) for a in (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)]
    assert values[0] == 0.0
    assert all(a < b for a, b in itertools.pairwise(values))


def test_stft_distance_of_silence_and_of_very_short_sounds() -> None:
    x, none = noise(), np.zeros((1, 12_000))
    assert multi_resolution_stft(x, none, RATE) is None
    assert multi_resolution_stft(none, x, RATE, level_match=False) is None
    assert multi_resolution_stft(x[:, :1], x[:, :1], RATE) == 0.0


def test_bands_of_lsd_are_what_each_alone_gives(clip: np.ndarray) -> None:
    other = sosfilt(butter(8, 4_000, fs=RATE, output="sos"), clip).astype(np.float32)
    bands = ((0.0, float("inf")), (4_000.0, float("inf")), (0.0, 2_000.0), (20_000.0, 30_000.0))
    together = log_spectral_distances(clip, other, RATE, bands)
    alone = [log_spectral_distance(clip, other, RATE, band_hz=band) for band in bands]
    assert together == alone
    assert together[1] > together[0] > together[2] and together[3] is None


# ---- envelope -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 60, 90, 120, 180])
def test_envelopes_out_of_phase_correlate_by_the_cosine(degrees: int) -> None:
    t = np.arange(4 * RATE) / RATE
    a, b = (
        ((1 + 0.4 * np.sin(2 * np.pi * 3 * t + turn)) * np.sin(2 * np.pi * f * t))[None]
        for turn, f in ((0.0, 1_000), (np.radians(degrees), 3_000))
    )
    assert envelope_correlation(a, b, RATE) == pytest.approx(np.cos(np.radians(degrees)), abs=0.01)


def test_envelope_knows_dynamics_and_not_gain_or_colour(clip: np.ndarray) -> None:
    dull = sosfilt(butter(1, 2_000, fs=RATE, output="sos"), clip)
    assert envelope_correlation(clip, -0.01 * clip, RATE) == pytest.approx(1.0)
    assert envelope_correlation(clip, dull, RATE) > 0.9
    squashed = np.tanh(20 * clip / np.abs(clip).max())
    assert envelope_correlation(clip, squashed, RATE) < envelope_correlation(clip, dull, RATE)
    assert envelope_correlation(clip, np.zeros_like(clip), RATE) is None
    assert envelope_correlation(np.ones((1, RATE)), clip[:1], RATE) is None  # stands still


# ---- onsets ---------------------------------------------------------------------------------------------------------


def clicks(times: list[float], seconds: float = 4.0, f: float = 1_200.0) -> np.ndarray:
    x = np.zeros(int(seconds * RATE))
    for s in times:
        at = int(s * RATE)
        u = np.arange(min(int(0.25 * RATE), x.size - at)) / RATE
        x[at : at + u.size] += 0.3 * np.sin(2 * np.pi * f * u) * np.exp(-u / 0.05)
    return (x + 1e-4 * np.random.default_rng(0).standard_normal(x.size))[None].astype(np.float32)


TIMES = [0.5, 0.93, 1.31, 1.9, 2.2, 2.75, 3.4]


def test_onsets_of_clicks_are_where_they_are() -> None:
    found = onsets(onset_envelope(clicks(TIMES), RATE))
    assert found.size == len(TIMES)
    assert np.abs(found - TIMES).max() < 0.025


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_onsets_do_not_move_with_the_rate(rate: int) -> None:
    x = librosa.resample(clicks(TIMES), orig_sr=RATE, target_sr=rate, res_type="soxr_hq")
    found = onsets(onset_envelope(x, rate))
    assert f_measure(TIMES, found, 0.03) == 1.0


def test_onsets_agree_with_librosa(clip: np.ndarray) -> None:
    ours = onsets(onset_envelope(clip, RATE))
    theirs = librosa.onset.onset_detect(y=clip.mean(axis=0), sr=RATE, units="time", hop_length=240)
    assert f_measure(theirs, ours) > 0.8


def best_matching(a: list[float], b: list[float], window: float) -> int:
    """Most pairs possible, by trying: every order-keeping choice."""
    if not a or not b:
        return 0
    skip = max(best_matching(a[1:], b, window), best_matching(a, b[1:], window))
    return max(skip, 1 + best_matching(a[1:], b[1:], window)) if abs(a[0] - b[0]) <= window else skip


@settings(max_examples=60, deadline=None)
@given(a=st.lists(st.integers(0, 30), max_size=5), b=st.lists(st.integers(0, 30), max_size=5), window=st.integers(0, 6))
def test_f_measure_makes_the_most_pairs(a: list[int], b: list[int], window: int) -> None:
    if not a and not b:
        assert f_measure(a, b, window) is None
    else:
        assert f_measure(a, b, window) == pytest.approx(2 * best_matching(sorted(a), sorted(b), window) / (len(a) + len(b)))


def test_f_measure_forgives_seventy_milliseconds() -> None:
    late = lambda d: f_measure(TIMES, [t + d for t in TIMES])  # noqa: E731
    assert late(0.0) == late(0.05) == late(-0.07) == 1.0
    assert late(0.08) == 0.0
    assert f_measure([], [1.0]) == 0.0
    assert f_measure([1.0, 2.0], [1.0]) == pytest.approx(2 / 3)


def test_beats_agree_for_the_same_rhythm_only() -> None:
    song = clicks(TIMES)
    same = beat_agreement(song, 0.1 * clicks(TIMES, f=500.0), RATE)  # another pitch, another level
    off = beat_agreement(song, clicks([t + 0.2 for t in TIMES]), RATE)
    assert same[0] > 0.8 and same[1] == 1.0
    assert off[0] < 0.2 and off[1] < 0.4
    assert beat_agreement(song, np.zeros_like(song), RATE) == (None, None)


def test_beats_on_music(clip: np.ndarray) -> None:
    dull = sosfilt(butter(1, 3_000, fs=RATE, output="sos"), clip)
    other = make_clip(8, 4.0).samples
    near, far = beat_agreement(clip, dull, RATE), beat_agreement(clip, other, RATE)
    assert beat_agreement(clip, 3 * clip, RATE) == (pytest.approx(1.0), 1.0)
    assert near[0] > 0.85 and near[1] > 0.85
    assert far[0] < 0.5 and far[1] < near[1]


# ---- all of them ----------------------------------------------------------------------------------------------------


def test_compare_gives_every_registered_figure(clip: np.ndarray) -> None:
    found = compare(clip, clip, RATE)
    assert tuple(found) == REFERENCE_METRICS == tuple(n for n, f in METRICS.items() if f.needs_reference)
    perfect = {"lsd": 0, "lsd_high": 0, "multi_resolution_stft": 0, "si_sdr_db": 120, "envelope_correlation": 1,
               "chroma_similarity": 1, "onset_correlation": 1, "onset_f_measure": 1}  # fmt: skip
    assert found == {name: pytest.approx(value, abs=1e-6) for name, value in perfect.items()}


@pytest.mark.parametrize("gain", [0.03, -1.0, 4.0])
def test_no_figure_sees_a_gain(clip: np.ndarray, gain: float) -> None:
    worse = clip + 0.1 * noise(4.0, 5, 2)
    plain, louder = compare(clip, worse, RATE), compare(clip, gain * worse, RATE)
    for name, value in plain.items():
        assert louder[name] == pytest.approx(value, abs=2e-3, rel=2e-3), name


def test_every_figure_prefers_the_lightly_harmed(clip: np.ndarray) -> None:
    other = make_clip(8, 4.0).samples
    light, heavy = compare(clip, clip + 0.05 * other, RATE), compare(clip, 0.3 * clip + other, RATE)
    for name, value in light.items():
        better = value > heavy[name] if METRICS[name].higher_is_better else value < heavy[name]
        assert better, (name, value, heavy[name])


def test_compare_of_unusual_sound() -> None:
    x = noise()
    bad = x.copy()
    bad[0, 7] = np.nan
    assert set(compare(bad, x, RATE).values()) == set(compare(x, bad, RATE).values()) == {None}
    assert set(compare(np.zeros((1, 5_000)), np.zeros((1, 5_000)), RATE).values()) == {None}
    one = compare(x[:, :1], x[:, :1], RATE)
    assert one["lsd"] == 0.0 and one["onset_f_measure"] is None
    low = compare(x, x, 8_000)  # no band at and above 4 kHz but the last bin
    assert low["lsd"] == 0.0
    assert compare(x[:, :6_000], x, RATE)["lsd"] == 0.0
    with pytest.raises(ValueError, match="mix one of them"):
        compare(np.ones((2, 100)), np.ones((3, 100)), RATE)
