"""Fréchet audio distance: how far a set of sounds, or one of them, lies from a reference set in an embedding
(Kilgour et al. 2019, arXiv 1812.08466; on single sounds and on CLAP as the embedding: Gui et al. 2023, arXiv 2311.01616).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..feature_distribution import FeatureDistribution, embed
from ..samples import Array
from .clap import FACTS as CLAP
from .clap import Clap
from .protocol import AdapterFacts

Sound = tuple[Any, int]  # samples [C, T], rate
Embedding = Callable[[Any, int], Array]
HOP_S = 5.0

FACTS = AdapterFacts(
    name="fad",
    about="Fréchet distance of a take's CLAP embeddings to those of the reference clips",
    version=1,
    licence=CLAP.licence,
    rate_hz=CLAP.rate_hz,
    ranges={"fad_clap": (0.0, None)},
    source="Kilgour et al. 2019, arXiv 1812.08466; Gui et al. 2023, arXiv 2311.01616; Dowson and Landau 1982",
    model=CLAP.model,
    default_model=CLAP.default_model,
    needs_references=True,
)


def frechet_audio_distance(sounds: Iterable[Sound], references: Iterable[Sound], embedding: Embedding = embed) -> float:
    """FAD of two sets of sounds, each (samples `[C, T]`, rate): squared Fréchet distance of Gaussians over all their
    embedding rows, covariances shrunk as far as few rows ask for; 0 …, lower is better, symmetric.

    `embedding` gives rows `[N, D]` for a sound: by default the spectral features of `feature_distribution.embed`, or
    for instance `Clap(...).embed`. Figures of different embeddings, or of sets of different sizes, can't be compared.
    Raises ValueError when a set holds no sound.
    """
    return distribution(sounds, embedding).distance(distribution(references, embedding))


def distribution(sounds: Iterable[Sound], embedding: Embedding) -> FeatureDistribution:
    """The Gaussian over all rows of a set of sounds. Raises ValueError when there are none."""
    rows = [found for samples, rate_hz in sounds if len(found := embedding(samples, rate_hz))]
    if not rows:
        raise ValueError("the set holds no sound; give at least one that is not silent")
    return FeatureDistribution.of(np.concatenate(rows))


class Fad:
    """One take against a set of references in CLAP's embedding. Raises AdapterError when the model can't be loaded,
    ValueError when the references hold no sound."""

    facts = FACTS

    def __init__(self, references: Iterable[Sound], model: str | None = None, device: str = "cpu") -> None:
        self._clap = Clap(model, device)
        self._references = distribution(references, self._rows)

    def _rows(self, samples: Any, rate_hz: int) -> Array:
        return self._clap.embed(samples, rate_hz, HOP_S)

    def score(self, samples: Any, rate_hz: int, *, text: str | None = None) -> dict[str, float | None]:
        """`fad_clap`: `FeatureDistribution.distance_of_take`, 0 …; None for silence."""
        rows = self._rows(samples, rate_hz)
        return {"fad_clap": self._references.distance_of_take(FeatureDistribution.of(rows)) if len(rows) else None}

    def close(self) -> None:
        """Let go of the weights."""
        self._clap.close()
