"""Fréchet distance: closed forms. Distance to reference clips: what it orders, and what it does not look at."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.scoring.adapters import frechet_audio_distance
from segue.scoring.feature_distribution import (
    SIZE,
    FeatureDistribution,
    embed,
    frechet_distance,
    reference_distance,
    reference_distribution,
    shrinkage,
)
from segue.training.corpus import Clip, make_clip

RATE = 24_000


def random_covariance(rng: np.random.Generator, d: int, rank: int | None = None) -> np.ndarray:
    root = rng.standard_normal((d, rank or d))
    return root @ root.T


# ---- Fréchet distance ----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(d=st.integers(1, 8), seed=st.integers(0, 1000), shift=st.floats(-5, 5), scale=st.floats(0.1, 9.0))
def test_closed_forms(d: int, seed: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    m, c = rng.standard_normal(d), random_covariance(rng, d)
    tolerance = 1e-6 * (1 + np.trace(c))
    assert frechet_distance(m, c, m, c) == pytest.approx(0.0, abs=tolerance)
    assert frechet_distance(m, c, m + shift, c) == pytest.approx(d * shift**2, abs=tolerance)
    expected = np.trace(c) * (1 - np.sqrt(scale)) ** 2  # tr(Σ + sΣ − 2√s Σ)
    assert frechet_distance(m, c, m, scale * c) == pytest.approx(expected, abs=tolerance)


@settings(max_examples=15, deadline=None)
@given(d=st.integers(2, 8), seed=st.integers(0, 1000))
def test_agrees_with_the_matrix_square_root_and_is_symmetric(d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    m1, m2 = rng.standard_normal((2, d))
    c1, c2 = random_covariance(rng, d), random_covariance(rng, d)
    plain = np.sum((m1 - m2) ** 2) + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real)
    mine = frechet_distance(m1, c1, m2, c2)
    assert mine == pytest.approx(plain, rel=1e-6, abs=1e-6)
    assert mine == pytest.approx(frechet_distance(m2, c2, m1, c1), rel=1e-6, abs=1e-6)


def test_diagonal_and_singular_covariances() -> None:
    a, b = np.array([1.0, 4.0, 0.0]), np.array([9.0, 4.0, 2.0])
    expected = float(np.sum((np.sqrt(a) - np.sqrt(b)) ** 2))
    zero = np.zeros(3)
    assert frechet_distance(zero, np.diag(a), zero, np.diag(b)) == pytest.approx(expected)
    assert frechet_distance(zero, np.zeros((3, 3)), zero, np.zeros((3, 3))) == 0.0
    c = random_covariance(np.random.default_rng(0), 20, rank=2)
    assert frechet_distance(np.zeros(20), c, np.ones(20), c) == pytest.approx(20.0, abs=1e-5)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        (([0], np.eye(2), [0, 0], np.eye(2)), r"give \[D\]"),
        (([0, 0], np.eye(2), [0, 0], np.eye(3)), r"give \[D\]"),
        (([0, np.nan], np.eye(2), [0, 0], np.eye(2)), "NaN"),
    ],
)
def test_what_is_refused(given_: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        frechet_distance(*given_)


# ---- shrinkage -----------------------------------------------------------------------------------------------------


def test_shrinkage_falls_with_rows_and_helps() -> None:
    rng = np.random.default_rng(0)
    d = 20
    true = np.diag(np.linspace(0.5, 2.0, d))
    shares, gains = [], []
    for n in (5, 20, 100, 1_000):
        x = rng.standard_normal((n, d)) * np.sqrt(np.diag(true))
        raw = FeatureDistribution.of(x)
        shares.append(shrinkage(raw.covariance, n))
        gains.append(np.linalg.norm(raw.covariance - true) - np.linalg.norm(raw.shrunk().covariance - true))
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.5 and shares[-1] < 0.15
    assert all(g > 0 for g in gains)
    assert shrinkage(np.eye(4), 3) == 1.0  # already a multiple of the identity


def test_a_distribution_is_numpys_mean_and_covariance() -> None:
    x = np.random.default_rng(0).standard_normal((50, 4))
    found = FeatureDistribution.of(x)
    np.testing.assert_allclose(found.covariance, np.cov(x.T, bias=True))
    assert found.count == 50
    for bad in (np.zeros((0, 4)), np.zeros(4), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="at least one row"):
            FeatureDistribution.of(bad)


# ---- features ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [make_clip(seed, 5.0) for seed in range(12)]


def test_features_know_neither_level_nor_channels_nor_rate(clips: list[Clip]) -> None:
    x = clips[0].samples
    rows = embed(x, RATE)
    assert rows.shape == (1 + (int((x.shape[1] - 1024) / 512) + 1 - 46) // 23, SIZE)
    np.testing.assert_allclose(embed(0.01 * x, RATE), rows, atol=1e-3)
    np.testing.assert_allclose(embed(x[::-1], RATE), rows, atol=1e-5)
    faster = soxr.resample(x.T, RATE, 48_000).T
    assert np.sqrt(np.mean((embed(faster, 48_000)[: len(rows)] - rows) ** 2)) < 0.02


def test_features_of_silence_and_of_short_sounds() -> None:
    assert embed(np.zeros((1, RATE)), RATE).shape == (0, SIZE)
    noise = np.random.default_rng(0).standard_normal((1, 5 * RATE))
    assert embed(noise[:, :300], RATE).shape == (1, SIZE)
    padded = np.concatenate([noise, np.zeros((1, 5 * RATE))], axis=1)
    assert len(embed(padded, RATE)) < len(embed(np.concatenate([noise, noise], axis=1), RATE))
    noise[0, 7] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        embed(noise, RATE)


def test_a_brighter_noise_has_other_features_by_a_known_amount() -> None:
    """A tilt of the spectrum by g bels a decade moves only the mean features; their RMS is that of the tilt over mel bands."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal(20 * RATE)
    z = np.fft.rfft(white)
    f = np.fft.rfftfreq(white.size, 1 / RATE)
    tilted = np.fft.irfft(z * np.where(f > 0, (np.maximum(f, 20) / 1000) ** 0.25, 0), white.size)  # +0.5 bel a decade
    a, b = (embed(x[None], RATE) for x in (white, tilted))
    mel = np.linspace(*(2595 * np.log10(1 + np.array([40, 11_000]) / 700)), 42)[1:-1]
    slope = 0.5 * np.log10(700 * (10 ** (mel / 2595) - 1))
    moved = (b - a).mean(axis=0)
    assert np.linalg.norm(moved[1:20]) == pytest.approx(slope.std(), rel=0.03)
    assert np.abs(moved[20:]).max() < 0.05


# ---- distance to reference clips -----------------------------------------------------------------------------------


def test_music_is_nearer_to_music_than_noise_and_tones(clips: list[Clip]) -> None:
    references = reference_distribution((c.samples, RATE) for c in clips[:6])
    rng = np.random.default_rng(0)
    t = np.arange(5 * RATE) / RATE
    held = [reference_distance(c.samples, RATE, references) for c in clips[6:]]
    noise = reference_distance(rng.standard_normal((2, 5 * RATE)), RATE, references)
    tone = reference_distance(np.sin(2 * np.pi * 440 * t)[None], RATE, references)
    assert max(held) < min(noise, tone) / 1.5
    drowned = [reference_distance(c.samples + c.samples.std() * rng.standard_normal(c.samples.shape), RATE, references)
               for c in clips[6:]]  # fmt: skip
    assert all(d > h for d, h in zip(drowned, held, strict=True))


def test_a_stem_is_nearer_to_its_own_kind(clips: list[Clip]) -> None:
    kinds = ("drums", "bass", "keyboard")
    pools = {k: [embed(c.stems[k], RATE) for c in clips if k in c.stems and np.abs(c.stems[k]).max() > 1e-3] for k in kinds}
    right = tried = 0
    for kind, pool in pools.items():
        for i, rows in enumerate(pool):
            others = {k: np.concatenate([r for j, r in enumerate(p) if (k, j) != (kind, i)]) for k, p in pools.items()}
            take = FeatureDistribution.of(rows)
            distances = {k: FeatureDistribution.of(o).distance_of_take(take) for k, o in others.items()}
            right, tried = right + (min(distances, key=distances.get) == kind), tried + 1
    assert tried > 20
    assert right / tried > 0.8


def test_the_clip_itself_among_the_references_is_near(clips: list[Clip]) -> None:
    own = reference_distance(clips[0].samples, RATE, [(clips[0].samples, RATE)])
    other = reference_distance(clips[0].samples, RATE, [(clips[1].samples, RATE)])
    assert own < 0.1 * other


def test_a_short_take_is_not_far_for_being_short(clips: list[Clip]) -> None:
    references = reference_distribution((c.samples, RATE) for c in clips[:6])
    for c in clips[6:9]:
        whole = reference_distance(c.samples, RATE, references)
        half = reference_distance(c.samples[:, : 5 * RATE // 2], RATE, references)
        assert abs(half - whole) < 0.6 * whole + 0.25


def test_references_without_sound() -> None:
    silence = np.zeros((1, RATE))
    with pytest.raises(ValueError, match="hold no sound"):
        reference_distance(np.ones((1, RATE)), RATE, [(silence, RATE)])
    tone = np.sin(np.arange(RATE) * 0.1)[None]
    assert reference_distance(silence, RATE, [(tone, RATE)]) is None


def test_fad_of_two_sets(clips: list[Clip]) -> None:
    a, b = ([(c.samples, RATE) for c in part] for part in (clips[:4], clips[4:8]))
    noises = [(np.random.default_rng(s).standard_normal((1, 5 * RATE)), RATE) for s in range(4)]
    assert frechet_audio_distance(a, a) == pytest.approx(0.0, abs=1e-6)
    assert frechet_audio_distance(a, b) == pytest.approx(frechet_audio_distance(b, a))
    assert frechet_audio_distance(a, b) < frechet_audio_distance(a, noises) / 2
    with pytest.raises(ValueError, match="holds no sound"):
        frechet_audio_distance([(np.zeros((1, RATE)), RATE)], a)
