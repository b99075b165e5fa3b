"""How far a sound lies from a set of reference clips: Gaussians over spectral features, and the Fréchet distance.

Nothing here is aligned in time: it is asked whether a take *sounds like* the references (instruments, brightness,
density, movement), not whether it is one of them. The features are our own and stated (`embed`, version
`EMBEDDING_VERSION`); those of a trained network may be given instead (`FeatureDistribution.of`).

It measures likeness, not quality: hiss at −20 dB brings a dull take *nearer* to bright references. Choose by it among takes
that are sound in themselves (`when: overall >= 7`, or a `select` by overall first).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
from scipy.fft import dct

from .samples import Array, as_samples
from .spectra import stft_blocks

EMBEDDING_VERSION = 1
EMBEDDING_RATE_HZ = 24_000
SIZE = 40
_N_FFT = 1024
_HOP = 512
_BANDS = 40
_BANDS_HZ = (40.0, 11_000.0)
_COEFFICIENTS = 20
_WINDOW = 46       # frames of a window: 0.98 s
_WINDOW_HOP = 23
_FLOOR = 1e-3      # of the sound's mean band power; what lies lower is masked, and told kinds of music apart by their silence


def embed(samples: Any, rate_hz: int) -> Array:
    """Features `[N, 40]` of `[C, T]`, a row for each second (half overlapping); a shorter sound gives one row.

    Version 1: resampled to 24 kHz; power in 40 mel bands (HTK's scale, triangles) from 40 Hz to 11 kHz in frames of
    1024 samples, hop 512, channels joined by power; log₁₀ of it over the sound's mean band power, not below −3; the
    first 20 coefficients of its orthonormal DCT-II over the bands, over √40, so that distances are RMS differences
    of log power, in bels. Of each window of 46 frames: their means (20) and their deviations (20). Independent of
    level. Rows of silence only are left out; digital silence gives none.

    Raises ValueError as `as_samples` does, and for NaN or Inf.

    >>> t = np.arange(48_000) / 24_000
    >>> rows = embed(0.1 * np.sin(2 * np.pi * 440 * t)[None], 24_000)  # two seconds: 0–1, 0.5–1.5, 1–2
    >>> rows.shape, embed(np.zeros((1, 24_000)), 24_000).shape
    ((3, 40), (0, 40))
    """
    x = as_samples(samples, rate_hz)
    if not np.isfinite(x).all():
        raise ValueError("samples hold NaN or Inf; there are no features of what is no sound")
    if rate_hz != EMBEDDING_RATE_HZ:
        x = np.ascontiguousarray(soxr.resample(x.T, rate_hz, EMBEDDING_RATE_HZ).T)
    frames = np.arange(max(1, (x.shape[1] - _N_FFT) // _HOP + 1))
    triangles = _mel_bands()
    bands = np.concatenate([
        (np.square(z.real) + np.square(z.imag)).mean(axis=0) @ triangles for z in stft_blocks(x, frames, _N_FFT, _HOP)
    ]).astype(np.float64)  # fmt: skip
    mean = bands.mean()
    if mean <= 0:
        return np.zeros((0, SIZE))
    level = np.log10(np.maximum(bands / mean, _FLOOR))
    cepstra = dct(level, norm="ortho", axis=1)[:, :_COEFFICIENTS] / np.sqrt(_BANDS)
    length = min(_WINDOW, len(cepstra))
    windows = np.lib.stride_tricks.sliding_window_view(cepstra, length, axis=0)[::_WINDOW_HOP]
    heard = np.lib.stride_tricks.sliding_window_view(bands.max(axis=1) > 1e-5 * mean, length)[::_WINDOW_HOP].any(axis=1)
    return np.concatenate([windows.mean(axis=-1), windows.std(axis=-1)], axis=1)[heard]


def _mel_bands() -> Array:
    """Triangles `[n_fft/2 + 1, 40]` of equal height, evenly spaced in mel = 2595·log₁₀(1 + f/700)."""
    lowest, highest = (2595 * float(np.log10(1 + hz / 700)) for hz in _BANDS_HZ)
    mel = np.linspace(lowest, highest, _BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    f = np.arange(_N_FFT // 2 + 1)[:, None] * (EMBEDDING_RATE_HZ / _N_FFT)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    return np.maximum(0, np.minimum((f - low) / (middle - low), (high - f) / (high - middle))).astype(np.float32)


def frechet_distance(mean1: Any, cov1: Any, mean2: Any, cov2: Any) -> float:
    """Squared Fréchet distance of two Gaussians, |μ₁−μ₂|² + tr(Σ₁ + Σ₂ − 2·(Σ₁^½ Σ₂ Σ₁^½)^½), 0 …; means `[D]`,
    covariances `[D, D]`, positive semidefinite (Dowson and Landau 1982, "The Fréchet distance between multivariate
    normal distributions", eq. 4; squared, as FID and FAD are given).

    The symmetric form needs only eigenvalues of symmetric matrices, so singular covariances are no trouble. Raises
    ValueError for shapes that don't belong together and for numbers that are none.

    >>> frechet_distance([0, 0], np.eye(2), [3, 4], np.eye(2))  # only the means differ: 3² + 4²
    25.0
    >>> round(frechet_distance([0, 0], np.eye(2), [0, 0], 9 * np.eye(2)), 9)  # 2·(3 − 1)²
    8.0
    """
    m1, m2, c1, c2 = (np.asarray(v, dtype=np.float64) for v in (mean1, mean2, cov1, cov2))
    d = m1.size
    if m1.shape != (d,) or m2.shape != (d,) or c1.shape != (d, d) or c2.shape != (d, d):
        raise ValueError(
            f"means of shape {m1.shape} and {m2.shape}, covariances {c1.shape} and {c2.shape}: give [D], [D], [D, D], [D, D]"
        )
    if not all(np.isfinite(v).all() for v in (m1, m2, c1, c2)):
        raise ValueError("means or covariances hold NaN or Inf")
    values, vectors = np.linalg.eigh((c1 + c1.T) / 2)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = root @ ((c2 + c2.T) / 2) @ root
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh((inner + inner.T) / 2), 0)).sum()
    return max(0.0, float((m1 - m2) @ (m1 - m2) + np.trace(c1) + np.trace(c2) - 2 * cross))


def shrinkage(covariance: Array, count: int) -> float:
    """How far a sample covariance `[D, D]` of `count` rows is drawn to a multiple of the identity, 0 … 1: the oracle
    approximating shrinkage (Chen, Wiesel, Eldar and Hero 2010, arXiv 0907.4698, eq. 23).

    >>> round(shrinkage(np.diag([1.0, 4.0]), 10), 4), round(shrinkage(np.diag([1.0, 4.0]), 1_000), 4), shrinkage(np.eye(2), 10)
    (0.5556, 0.0056, 1.0)
    """
    d = len(covariance)
    trace, square = float(np.trace(covariance)), float(np.square(covariance).sum())
    above = (1 - 2 / d) * square + trace**2
    below = (count + 1 - 2 / d) * (square - trace**2 / d)
    return 1.0 if below <= 0 else min(1.0, above / below)


@dataclass(frozen=True, eq=False)
class FeatureDistribution:
    """A Gaussian over features: `mean` `[D]`, `covariance` `[D, D]` (maximum likelihood), of `count` rows."""

    mean: Array
    covariance: Array
    count: int

    @classmethod
    def of(cls, rows: Any) -> FeatureDistribution:
        """Of features `[N, D]`, N ≥ 1. Raises ValueError otherwise."""
        x = np.asarray(rows, dtype=np.float64)
        if x.ndim != 2 or 0 in x.shape or not np.isfinite(x).all():
            raise ValueError(f"features of shape {x.shape}: give [N, D], finite, with at least one row")
        mean = x.mean(axis=0)
        return cls(mean, (x - mean).T @ (x - mean) / len(x), len(x))

    def shrunk(self) -> FeatureDistribution:
        """With its covariance drawn to a multiple of the identity, as far as few rows ask for."""
        d, share = len(self.mean), shrinkage(self.covariance, self.count)
        target = np.trace(self.covariance) / d * np.eye(d)
        return FeatureDistribution(self.mean, (1 - share) * self.covariance + share * target, self.count)

    def distance(self, other: FeatureDistribution) -> float:
        """Squared Fréchet distance of the two, both shrunk: the Fréchet audio distance of two sets (Kilgour et al.
        2019, arXiv 1812.08466), symmetric. Biased upwards for few rows, so compare sets of one size."""
        a, b = self.shrunk(), other.shrunk()
        return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)

    def distance_of_take(self, take: FeatureDistribution) -> float:
        """Squared Fréchet distance of one take's rows to this set of references.

        A take has few rows: its covariance is drawn towards the references' own with weight D/(D + N) (the posterior
        mean under an inverse-Wishart prior), so that takes of unequal length are not told apart by it, and one row
        is enough.
        """
        here = self.shrunk()
        share = len(self.mean) / (len(self.mean) + take.count)
        mixed = share * here.covariance + (1 - share) * take.covariance
        return frechet_distance(here.mean, here.covariance, take.mean, mixed)


def reference_distribution(references: Iterable[tuple[Any, int]]) -> FeatureDistribution:
    """The `embed` features of all reference clips together, each given as (samples `[C, T]`, rate). Longer clips
    weigh more. Raises ValueError when there is no sound in any of them.

    >>> t = np.arange(48_000) / 24_000
    >>> tone = 0.1 * np.sin(2 * np.pi * 440 * t)[None]
    >>> reference_distribution([(tone, 24_000), (tone, 24_000)]).count
    6
    """
    rows = [found for samples, rate_hz in references if len(found := embed(samples, rate_hz))]
    if not rows:
        raise ValueError("the reference clips hold no sound; give at least one clip that does")
    return FeatureDistribution.of(np.concatenate(rows))


def reference_distance(
    samples: Any, rate_hz: int, references: FeatureDistribution | Sequence[tuple[Any, int]]
) -> float | None:
    """Distance of `[C, T]` to a set of reference clips, in bels² of `embed`'s features: 0 …, lower is better, the
    same at any level. `references` are (samples, rate) pairs, or their distribution if many takes are compared with
    it. None for silence.

    >>> t = np.arange(48_000) / 24_000
    >>> tone, higher = (np.sin(2 * np.pi * f * t)[None] for f in (300, 2_000))
    >>> near, far = (reference_distance(x, 24_000, [(tone, 24_000)]) for x in (0.1 * tone, higher))
    >>> near < 0.01 < 0.5 < far
    True
    """
    there = references if isinstance(references, FeatureDistribution) else reference_distribution(references)
    rows = embed(samples, rate_hz)
    return there.distance_of_take(FeatureDistribution.of(rows)) if len(rows) else None
