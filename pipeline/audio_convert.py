"""Rate and channel count of audio: `resample` and `remix`. Pure; knows no files, takes or stages."""

from __future__ import annotations

import numpy as np
import soxr
import torch

from .errors import Problem, RequestError
from .take import Audio

MAX_CHANNELS = 8
_C = 2.0**-0.5  # −3 dB, the weight ITU-R BS.775-4 (Table 2) gives centre and surrounds in a stereo fold-down

# (left, right) weight of each channel, for channels in the order FLAC (RFC 9639 §9.1.3) and WAV give them.
_L, _R, _BOTH, _DROP = (1.0, 0.0), (0.0, 1.0), (_C, _C), (0.0, 0.0)
_BACK_L, _BACK_R = (_C, 0.0), (0.0, _C)
_STEREO_WEIGHTS: dict[int, tuple[tuple[float, float], ...]] = {
    3: (_L, _R, _BOTH),
    4: (_L, _R, _BACK_L, _BACK_R),
    5: (_L, _R, _BOTH, _BACK_L, _BACK_R),
    6: (_L, _R, _BOTH, _DROP, _BACK_L, _BACK_R),
    7: (_L, _R, _BOTH, _DROP, _BOTH, _BACK_L, _BACK_R),
    8: (_L, _R, _BOTH, _DROP, _BACK_L, _BACK_R, _BACK_L, _BACK_R),
}


def resample(audio: Audio, rate_hz: int) -> Audio:
    """`audio` at `rate_hz`, by soxr's very-high-quality band-limited conversion; `round(T · rate_hz / rate)` samples,
    at least 1. The same object when the rate is right already."""
    if rate_hz <= 0:
        raise ValueError(f"rate_hz is {rate_hz}; a rate is a positive number of samples a second")
    if rate_hz == audio.rate_hz:
        return audio
    x = np.ascontiguousarray(audio.samples.detach().cpu().numpy().T, dtype=np.float32)
    length = max(1, round(x.shape[0] * rate_hz / audio.rate_hz))
    y = soxr.resample(x, audio.rate_hz, rate_hz, quality="VHQ")[:length]
    if y.shape[0] < length:
        y = np.pad(y, ((0, length - y.shape[0]), (0, 0)))
    return Audio(torch.from_numpy(np.ascontiguousarray(y.T)), rate_hz)


def remix(audio: Audio, channels: int) -> Audio:
    """`audio` with `channels` channels.

    Mono is copied to every channel; stereo to mono is the mean. Three to eight channels fold down to stereo with the
    weights of ITU-R BS.775-4 (centre and surrounds −3 dB, the low-frequency channel left out), scaled so that a sound
    equal in all channels keeps its level; to mono, the mean of that. Two or more channels to more: the first ones, then
    silence. The same object when the count is right already. Raises RequestError for more than eight channels.
    """
    have = audio.channels
    if channels == have:
        return audio
    if have > MAX_CHANNELS:
        raise RequestError(
            Problem(
                cause=f"audio of {have} channels can't be folded down to {channels}: no channel order is agreed above "
                f"{MAX_CHANNELS}.",
                fix=f"export at most {MAX_CHANNELS} channels (mono or stereo is best).",
            )
        )
    x = audio.samples
    if have == 1:
        return Audio(x.expand(channels, -1).contiguous(), audio.rate_hz)
    if channels > have:
        silence = torch.zeros(channels - have, x.shape[1], dtype=x.dtype)
        return Audio(torch.cat([x, silence]), audio.rate_hz)
    if have > 2:
        weights = torch.tensor(_STEREO_WEIGHTS[have], dtype=x.dtype).T  # [2, C]
        x = (weights / weights.sum(dim=1, keepdim=True)) @ x
    if channels == 1:
        x = x.mean(dim=0, keepdim=True)
    elif channels != 2:
        raise RequestError(
            Problem(
                cause=f"audio of {have} channels can't become {channels} channels.",
                fix="ask for 1 or 2 channels, or for at least as many as the audio has.",
            )
        )
    return Audio(x.contiguous(), audio.rate_hz)
