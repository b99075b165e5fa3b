"""Tempo and beat: what throw-away heads must read inside the transformer while base is trained.

The velocity's error alone hardly asks for the tempo: most of the noise that hides a beat is gone before the beat could be
told, and without these heads nothing finer than slow, middling or fast gets from the prompt into the transformer. So the tempo
is asked for behind the first layer, as the angles by which rotary attention would have to turn to look one, two or four beats
aside; and behind the fourth, the place of every frame in bar, beat and half beat, which follows from the tempo and the
clip's beginning.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
from torch import nn

from ..mini import FRAME_RATE_HZ, TRANSFORMER

TEMPO_LAYER, BEAT_LAYER = 0, 3
TEMPO_WEIGHT, BEAT_WEIGHT = 0.2, 0.8
_PATCH, _HIDDEN, _HEAD = (int(TRANSFORMER[name]) for name in ("patch_size", "hidden_size", "head_dim"))
_FASTEST, _BEATS = 8, (1, 2, 4)


def beat_phases(facts: dict[str, Any], first: int, frames: int) -> torch.Tensor:
    """Cosine and sine of the place in bar, beat and half beat of ``frames`` frames from frame ``first`` of a clip on,
    ``[T, 6]``. Composed clips begin with a bar and keep their tempo."""
    beats = (first + 0.5 + np.arange(frames)) / FRAME_RATE_HZ * facts["bpm"] / 60
    turns = 2 * np.pi * beats[:, None] * np.array([1 / int(facts["timesignature"]), 1.0, 2.0])
    return torch.from_numpy(np.concatenate([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32))


def tempo_angles(facts: dict[str, Any]) -> torch.Tensor:
    """Cosine and sine of what the eight fastest rotary frequencies turn in one, two and four beats, ``[48]``
    (RoFormer, arXiv 2104.09864, eq. 15)."""
    frequencies = float(TRANSFORMER["rope_theta"]) ** (-2 * np.arange(_FASTEST) / _HEAD)
    tokens = 60 / facts["bpm"] * FRAME_RATE_HZ / _PATCH * np.array(_BEATS)
    angles = np.outer(tokens, frequencies).ravel()
    return torch.from_numpy(np.concatenate([np.cos(angles), np.sin(angles)]).astype(np.float32))


class BeatReader(nn.Module):
    """Linear readings of ``tempo_angles`` and ``beat_phases`` from what ``transformer`` computed last; training only."""

    def __init__(self, transformer: AceStepTransformer1DModel) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.tempo = nn.Linear(_HIDDEN, 2 * len(_BEATS) * _FASTEST)
            self.beat = nn.Linear(_HIDDEN, _PATCH * 6)
        self._hidden: dict[int, torch.Tensor] = {}  # by layer ``[B, T / 2, 256]``
        for number in (TEMPO_LAYER, BEAT_LAYER):
            transformer.layers[number].register_forward_hook(
                lambda layer, inputs, hidden, number=number: self._hidden.__setitem__(number, hidden))

    def error(self, told: torch.Tensor, angles: torch.Tensor, composed: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
        """What is missed, weighted: the tempo (``[B, 48]``) of examples whose prompts tell it (``told`` 1, ``[B]``) and the beat
        (``[B, T, 6]``) of those that are ``composed`` from text alone (``[B]``). Mean squared errors; 0.5 is to know nothing."""
        if not self._hidden:
            raise RuntimeError("the transformer has computed nothing yet that could be read")
        tempo = (self.tempo(self._hidden[TEMPO_LAYER]).float() - angles[:, None]).pow(2).mean((1, 2))
        read = self.beat(self._hidden[BEAT_LAYER]).float().reshape(len(phases), -1, 6)[:, : phases.shape[1]]
        beat = (read - phases).pow(2).mean((1, 2))
        return TEMPO_WEIGHT * (tempo * told).mean() + BEAT_WEIGHT * (beat * composed).mean()
