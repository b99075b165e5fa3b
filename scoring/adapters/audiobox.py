"""audiobox-aesthetics: four axes of how a sound is judged by listeners (Tjandra et al. 2025, arXiv 2502.05139)."""

from __future__ import annotations

from typing import Any

from .protocol import AdapterError, AdapterFacts, import_package, mono_at, silent

FACTS = AdapterFacts(
    name="audiobox",
    about="audiobox-aesthetics: enjoyment, usefulness, complexity, production quality",
    version=1,
    licence="code and weights CC-BY-4.0",
    rate_hz=16_000,
    ranges=dict.fromkeys(("audiobox_ce", "audiobox_cu", "audiobox_pc", "audiobox_pq"), (1.0, 10.0)),
    source="Tjandra et al. 2025, arXiv 2502.05139; audiobox_aesthetics.infer",
    extra="audiobox",
    packages=(("audiobox_aesthetics", "audiobox-aesthetics"), ("torchaudio", "torchaudio")),
    model="checkpoint.pt as released; left out: facebook/audiobox-aesthetics from the hub",
)


class Audiobox:
    """The released predictor; it chooses its device itself (CUDA where there is one). Raises MissingExtra or
    AdapterError."""

    facts = FACTS

    def __init__(self, model: str | None = None, device: str = "cpu") -> None:
        infer = import_package(FACTS, "audiobox_aesthetics.infer")
        try:
            self._predictor = infer.initialize_predictor(ckpt=model)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise AdapterError(
                f"audiobox-aesthetics can't load {model or 'facebook/audiobox-aesthetics'}: {str(error)[:300]} Give `model` "
                "the path of the released checkpoint.pt, or leave it out where the hub can be reached."
            ) from error

    def score(self, samples: Any, rate_hz: int, *, text: str | None = None) -> dict[str, float | None]:
        """`audiobox_ce`, `_cu`, `_pc`, `_pq`, about 1 … 10; means over pieces of 10 s weighed by their length, as the
        package does it."""
        import torch

        mono = mono_at(samples, rate_hz, FACTS.rate_hz)
        if silent(mono):
            return dict.fromkeys(FACTS.metrics)
        (row,) = self._predictor.forward([{"path": torch.from_numpy(mono)[None], "sample_rate": FACTS.rate_hz}])
        return {f"audiobox_{axis.lower()}": float(row[axis]) for axis in ("CE", "CU", "PC", "PQ")}

    def close(self) -> None:
        """Let go of the weights."""
        self._predictor = None
