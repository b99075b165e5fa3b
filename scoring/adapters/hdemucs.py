"""Hybrid Demucs through torchaudio: a mix taken apart into drums, bass, other and vocals (Défossez 2021, arXiv 2111.03600).

It judges nothing: what it makes is judged like any sound. The arithmetic around the model (`normalised`, `in_pieces`) is
the same wherever the model is used. Knows no stage, and no report.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr

from ..samples import Array, as_samples
from .protocol import AdapterError, AdapterFacts, import_package, state_dict

if TYPE_CHECKING:
    import torch

STEMS: tuple[str, ...] = ("drums", "bass", "other", "vocals")  # the order of the model's outputs
RATE_HZ = 44_100
SEGMENT_S = 10.0
OVERLAP_S = 1.0

FACTS = AdapterFacts(
    name="hdemucs",
    about="Hybrid Demucs: drums, bass, other and vocals out of a mix",
    version=1,
    licence="code BSD-2-Clause and MIT (torchaudio); weights MIT (Demucs)",
    rate_hz=RATE_HZ,
    ranges={},
    source="Défossez 2021, arXiv 2111.03600; torchaudio.models.HDemucs",
    extra="torchaudio",
    packages=(("torchaudio", "torchaudio"),),
    channels=2,
    model="state dict of torchaudio's hdemucs_high, of any width (.safetensors, .pt or .pth); left out: the bundle "
    "HDEMUCS_HIGH_MUSDB_PLUS, which torchaudio downloads once",
)


class Hdemucs:
    """The loaded model. Raises MissingExtra, or AdapterError when the weights can't be loaded."""

    facts = FACTS

    def __init__(self, model: str | None = None, device: str = "cpu") -> None:
        self._model: Any = load_hdemucs(model, device)
        self._device = device

    def separate(self, samples: Any, rate_hz: int) -> dict[str, Array]:
        """The stems of `[C, T]`, by name, at the same rate and as long. Two channels stay two; any other number is heard as
        their mean, and gives stems of one channel. Raises ValueError as `as_samples` does, and for NaN or Inf."""
        import torch

        x = as_samples(samples, rate_hz)
        if not np.isfinite(x).all():
            raise ValueError("samples hold NaN or Inf; they can't be taken apart into stems")
        pair = x if x.shape[0] == 2 else np.repeat(x.mean(axis=0, keepdims=True), 2, axis=0)
        mix = torch.from_numpy(_resampled(pair, rate_hz, RATE_HZ)).to(self._device)
        with torch.inference_mode():
            made = stems_of(self._model, mix).cpu().numpy()
        channels = 2 if x.shape[0] == 2 else 1
        return {name: _fitted(stem, rate_hz, channels, x.shape[1]) for name, stem in zip(STEMS, made, strict=True)}

    def close(self) -> None:
        """Let go of the weights."""
        self._model = None


def load_hdemucs(model: str | None, device: str) -> Any:
    """torchaudio's HDemucs for 44.1 kHz with the weights at path `model`, whose width is read from them; without one, those
    torchaudio downloads. Raises MissingExtra or AdapterError."""
    models = import_package(FACTS, "torchaudio.models")
    try:
        if model is None:
            made = import_package(FACTS, "torchaudio.pipelines").HDEMUCS_HIGH_MUSDB_PLUS.get_model()
        else:
            weights = state_dict(Path(model))
            width = int(weights["freq_encoder.0.conv.weight"].shape[0])
            made = models.HDemucs(sources=list(STEMS), channels=width, nfft=4096, depth=6)
            made.load_state_dict(weights)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, AdapterError):
            raise
        raise AdapterError(
            f"Hybrid Demucs can't load {model or 'its own weights'}: {str(error)[:300]} Give the path of the state dict of "
            "torchaudio's hdemucs_high as .safetensors, .pt or .pth, or leave it out where it can be downloaded."
        ) from error
    return made.to(device).eval()


def stems_of(model: Any, mix: torch.Tensor, *, segment_s: float = SEGMENT_S, overlap_s: float = OVERLAP_S) -> torch.Tensor:
    """`[S, 2, T]` of a mix `[2, T]` at 44.1 kHz, in pieces of `segment_s` with cross-fades of `overlap_s`."""
    piece, overlap = round(segment_s * RATE_HZ), round(overlap_s * RATE_HZ)
    return normalised(
        lambda x: in_pieces(lambda part: model(part.unsqueeze(0))[0], x, piece=piece, overlap=overlap), mix
    )


def normalised(separate: Callable[[torch.Tensor], torch.Tensor], mix: torch.Tensor) -> torch.Tensor:
    """`separate` on `[C, T]` brought to mean 0 and deviation 1 (of its mono sum), and brought back: `[S, C, T]`.

    Demucs was trained on such input. The mean, which is no sound, is left out of the stems; silence gives silent stems.
    """
    import torch

    mono = mix.mean(dim=0)
    mean, deviation = mono.mean(), mono.std() if mono.numel() > 1 else torch.zeros(())
    if not deviation > 1e-8:
        return torch.zeros(len(STEMS), *mix.shape, device=mix.device)
    return separate((mix - mean) / deviation) * deviation


def in_pieces(
    separate: Callable[[torch.Tensor], torch.Tensor], mix: torch.Tensor, *, piece: int, overlap: int
) -> torch.Tensor:
    """`separate` (`[C, n]` -> `[S, C, n]`) over `[C, T]` in pieces of `piece` samples that overlap by `overlap`.

    Neighbours are cross-faded with linear weights that add up to 1, so a separation that doesn't look at its neighbours
    comes out exactly as if it had been done at once. The last piece is padded with zeros to full length, and what is
    made of the padding is dropped. Needs 0 <= 2·overlap < piece.
    """
    import torch

    if not 0 <= 2 * overlap < piece:
        raise ValueError(f"pieces of {piece} samples can't overlap by {overlap}; an overlap is under half a piece")
    length, hop = mix.shape[-1], piece - overlap
    starts = range(0, max(1, length - overlap), hop)
    fade = (torch.arange(overlap, device=mix.device) + 1.0) / (overlap + 1.0)
    total: torch.Tensor | None = None
    for start in starts:
        part = mix[:, start : start + piece]
        stems = separate(torch.nn.functional.pad(part, (0, piece - part.shape[-1])))[..., : part.shape[-1]]
        weight = torch.ones(part.shape[-1], device=mix.device)
        if overlap and start > 0:
            weight[:overlap] = fade[: weight.shape[0]]
        if overlap and start != starts[-1]:
            weight[-overlap:] = fade.flip(0)
        if total is None:
            total = torch.zeros(*stems.shape[:-1], length, device=mix.device, dtype=stems.dtype)
        total[..., start : start + part.shape[-1]] += stems * weight
    assert total is not None
    return total


def _resampled(x: Array, rate_hz: int, wanted_hz: int) -> Array:
    """`[C, T]` at another rate, by soxr."""
    if rate_hz == wanted_hz:
        return x
    return np.ascontiguousarray(soxr.resample(x.T, rate_hz, wanted_hz, quality="VHQ").T, dtype=np.float32)


def _fitted(stem: Array, rate_hz: int, channels: int, length: int) -> Array:
    """A stem at the mix's rate, channels and length."""
    y = _resampled(stem if channels == 2 else stem.mean(axis=0, keepdims=True), RATE_HZ, rate_hz)[:, :length]
    return np.pad(y, ((0, 0), (0, length - y.shape[1])))
