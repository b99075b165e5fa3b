"""DNSMOS by `speechmos`, which carries its weights: how listeners rate denoised *speech* (Reddy et al. 2021, arXiv
2010.15258; P.835: arXiv 2110.01763). Music is outside what it was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np

from .protocol import AdapterError, AdapterFacts, import_package, mono_at, silent

_KEYS = {
    "dnsmos_overall": "ovrl_mos",
    "dnsmos_signal": "sig_mos",
    "dnsmos_background": "bak_mos",
    "dnsmos_p808": "p808_mos",
}
_SHORTEST = 160_000

FACTS = AdapterFacts(
    name="dnsmos",
    about="DNSMOS: rated quality of speech, its signal and its background",
    version=1,
    licence="code MIT (speechmos); its weights, from Microsoft's DNS Challenge, come in the same package",
    rate_hz=16_000,
    ranges=dict.fromkeys(_KEYS, (1.0, 5.0)),
    source="Reddy et al. 2021, arXiv 2010.15258 and 2110.01763; speechmos.dnsmos",
    extra="dnsmos",
    packages=(("speechmos", "speechmos"), ("onnxruntime", "onnxruntime"), ("requests", "requests")),
)


class Dnsmos:
    """Raises MissingExtra when the package is absent, AdapterError when a model is given (it has its own)."""

    facts = FACTS

    def __init__(self, model: str | None = None, device: str = "cpu") -> None:
        if model is not None:
            raise AdapterError("adapter 'dnsmos' carries its weights in its package; leave `model` out.")
        self._dnsmos: Any = import_package(FACTS, "speechmos.dnsmos")

    def score(self, samples: Any, rate_hz: int, *, text: str | None = None) -> dict[str, float | None]:
        """`dnsmos_overall`, `_signal`, `_background` (P.835) and `_p808`, about 1 … 5. A sound that exceeds ±1 is scaled
        to fit, as the package takes nothing else. One under 10 s is repeated to 10 s: the package repeats to 9.01 s, but
        then counts whole seconds, finds no window in 9.01 … 10 s and gives NaN."""
        mono = mono_at(samples, rate_hz, FACTS.rate_hz)
        if silent(mono):
            return dict.fromkeys(FACTS.metrics)
        if mono.size < _SHORTEST:
            mono = np.resize(mono, _SHORTEST)  # repeats
        found = self._dnsmos.run(mono / max(1.0, float(np.abs(mono).max())), FACTS.rate_hz)
        return {name: float(found[key]) for name, key in _KEYS.items()}

    def close(self) -> None:
        """Let go of the sessions the package keeps."""
        self._dnsmos.dnsmos = None
