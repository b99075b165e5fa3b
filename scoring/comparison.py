"""`compare`: every metric that needs the sound a take should have been, in one call. Knows the metrics' names and
who computes them; computes nothing itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from .metrics import METRICS
from .onset_agreement import beat_agreement
from .reference import (
    HIGH_BAND_HZ,
    chroma_similarity,
    envelope_correlation,
    log_spectral_distances,
    multi_resolution_stft,
    si_sdr,
)
from .samples import same_shape

REFERENCE_METRICS = tuple(name for name, facts in METRICS.items() if facts.needs_reference)


def compare(reference: Any, samples: Any, rate_hz: int) -> dict[str, float | None]:
    """Every name of `REFERENCE_METRICS` for `samples` `[C, T]` against `reference`, aligned and at the same rate
    (see `metrics` for units and directions). None where a figure does not exist; all None where either holds
    NaN or Inf. Raises ValueError for channels that don't match.

    >>> x = np.random.default_rng(0).standard_normal((1, 48_000)) * np.linspace(0, 0.1, 48_000)
    >>> found = compare(x, 0.5 * x, 48_000)
    >>> round(found["lsd"], 6) + 0.0, round(found["envelope_correlation"], 6), found["onset_f_measure"]
    (0.0, 1.0, 1.0)
    """
    a, b = same_shape(reference, samples, rate_hz)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return dict.fromkeys(REFERENCE_METRICS)
    whole, high = log_spectral_distances(a, b, rate_hz, ((0.0, float("inf")), HIGH_BAND_HZ))
    correlation, f = beat_agreement(a, b, rate_hz)
    return {
        "lsd": whole,
        "lsd_high": high,
        "multi_resolution_stft": multi_resolution_stft(a, b, rate_hz),
        "si_sdr_db": si_sdr(a, b, rate_hz),
        "envelope_correlation": envelope_correlation(a, b, rate_hz),
        "chroma_similarity": chroma_similarity(a, b, rate_hz),
        "onset_correlation": correlation,
        "onset_f_measure": f,
    }
