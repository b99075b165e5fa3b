"""SQUIM through torchaudio: what STOI, PESQ and SI-SDR of *speech* would be, guessed without the clean sound
(Kumar et al. 2023, arXiv 2304.01448)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .protocol import AdapterError, AdapterFacts, import_package, mono_at, silent, state_dict, windows

RATE_HZ = 16_000
_WINDOW_S = 10

FACTS = AdapterFacts(
    name="squim",
    about="SQUIM: STOI, PESQ and SI-SDR of speech, estimated without a reference",
    version=1,
    licence="code BSD-2-Clause (torchaudio); weights CC-BY-4.0",
    rate_hz=RATE_HZ,
    ranges={"squim_stoi": (0.0, 1.0), "squim_pesq": (1.0, 5.0), "squim_si_sdr_db": (None, None)},
    source="Kumar et al. 2023, arXiv 2304.01448; torchaudio.pipelines.SQUIM_OBJECTIVE",
    extra="torchaudio",
    packages=(("torchaudio", "torchaudio"),),
    model="state dict of squim_objective_base (.safetensors, .pt or .pth); left out: torchaudio downloads its own",
)


class Squim:
    """torchaudio's SquimObjective, base size. Raises MissingExtra, or AdapterError when the weights can't be loaded."""

    facts = FACTS

    def __init__(self, model: str | None = None, device: str = "cpu") -> None:
        try:
            if model is None:
                self._model = import_package(FACTS, "torchaudio.pipelines").SQUIM_OBJECTIVE.get_model()
            else:
                self._model = import_package(FACTS, "torchaudio.models").squim_objective_base()
                self._model.load_state_dict(state_dict(Path(model)))
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            if isinstance(error, AdapterError):
                raise
            raise AdapterError(
                f"SQUIM can't load {model or 'its own weights'}: {str(error)[:300]} Give `model` the state dict of "
                "torchaudio's squim_objective_base as .safetensors, .pt or .pth, or leave it out where it can be downloaded."
            ) from error
        self._model.to(device).eval()
        self._device = device

    def score(self, samples: Any, rate_hz: int, *, text: str | None = None) -> dict[str, float | None]:
        """`squim_stoi`, `squim_pesq`, `squim_si_sdr_db`: means over pieces of 10 s that aren't silent (a sound under 1 s is
        padded with zeros to that)."""
        import torch

        mono = mono_at(samples, rate_hz, RATE_HZ)
        mono = np.pad(mono, (0, max(0, RATE_HZ - mono.size)))
        rows = []
        for piece in windows(mono, _WINDOW_S * RATE_HZ, _WINDOW_S * RATE_HZ):
            if silent(piece):
                continue  # the model divides by the level
            with torch.inference_mode():
                rows.append([float(v) for v in self._model(torch.from_numpy(piece)[None].to(self._device))])
        if not rows:
            return dict.fromkeys(FACTS.metrics)
        return dict(zip(FACTS.metrics, map(float, np.mean(rows, axis=0)), strict=True))

    def close(self) -> None:
        """Let go of the weights."""
        self._model = None
