"""Lossy codec round trips, aligned in time and of equal length, through libsndfile's encoders (LAME, libvorbis, libopus).

Knows no stage and no take; the encoders are deterministic, so nothing is drawn here.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soundfile as sf
import torch

from ..pipeline.audio_file import resample
from ..pipeline.audio_write import encode_audio
from ..pipeline.take import Audio
from .degrade_effects import fit

Codec = Literal["mp3", "vorbis", "opus"]
MP3_DELAY = 1105  # samples: LAME's encoder delay 576 + decoder delay 529, where no header tells the decoder to drop them
# Bit rates in kbit/s: ISO/IEC 11172-3 table 2.4.2.3 (MPEG-1), 13818-3 table 2.4.2.3 (MPEG-2), and MPEG-2.5's part of it.
_MPEG1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG25 = tuple(b for b in _MPEG2 if b <= 64)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


@dataclass(frozen=True)
class RoundTrip:
    """What came back, and how: `rate_hz` the codec ran at; `asked_kbps` after snapping to what the codec offers (None for
    Vorbis, which is steered by quality); `actual_kbps` measured from the encoded bytes."""

    samples: np.ndarray
    rate_hz: int
    asked_kbps: float | None
    actual_kbps: float


def round_trip(x: np.ndarray, rate_hz: int, codec: Codec, *, bitrate_kbps: float, quality: float) -> RoundTrip:
    """`x` `[C, T]` encoded and decoded again: same length, same rate, in time (Opus at low
    bit rates to 0.1 ms, the others to the sample).

    `bitrate_kbps` (for mp3 and opus) is for up to two channels, and snapped to the codec's table; `quality` in [0, 1]
    (for vorbis) is libvorbis' own, 1 best. Rates the codec can't hold are resampled to the next one it can. More than
    two channels go through mp3 in pairs. Peaks above full scale are scaled down before and up again after.
    """
    own_rate = _codec_rate(codec, rate_hz)
    peak = max(1.0, float(np.abs(x).max()))
    at_rate = resample(Audio(torch.from_numpy(np.ascontiguousarray(x / np.float32(peak))), rate_hz), own_rate).samples.numpy()
    pairs = [at_rate[i : i + 2] for i in range(0, len(at_rate), 2)] if codec == "mp3" else [at_rate]
    size, parts = 0, []
    asked: float | None = None
    for part in pairs:
        data, asked = _encode(np.clip(part, -1.0, 1.0), own_rate, codec, bitrate_kbps, quality)
        decoded, _ = sf.read(io.BytesIO(data), dtype="float32", always_2d=True)
        size += len(data)
        parts.append(_aligned(decoded.T, part.shape[-1], codec))
    back = resample(Audio(torch.from_numpy(np.concatenate(parts)), own_rate), rate_hz).samples.numpy()
    actual = size * 8 / 1000 / (at_rate.shape[-1] / own_rate)
    return RoundTrip(fit(back, x.shape[-1]) * np.float32(peak), own_rate, asked, actual)


def _codec_rate(codec: Codec, rate_hz: int) -> int:
    if codec == "opus":
        return 48_000
    if codec == "mp3":
        return min((r for r in _MP3_RATES if r >= rate_hz), default=48_000)
    return min(max(rate_hz, 8_000), 192_000)


def _encode(x: np.ndarray, rate_hz: int, codec: Codec, kbps: float, quality: float) -> tuple[bytes, float | None]:
    """The encoded bytes and the bit rate asked of the encoder, through libsndfile's compression level (0 to 1)."""
    if codec == "vorbis":
        return encode_audio(x, rate_hz, "ogg", "VORBIS", compression_level=1.0 - quality), None
    if codec == "opus":  # libsndfile: 256 kbit/s a channel at level 0, 6 at level 1
        each = min(max(kbps / len(x), 6.0), 256.0)
        return encode_audio(x, rate_hz, "ogg", "OPUS", compression_level=(256.0 - each) / 250.0), each * len(x)
    table = _MPEG1 if rate_hz >= 32_000 else _MPEG2 if rate_hz >= 16_000 else _MPEG25
    snapped = min(table, key=lambda b: (abs(b - kbps), b))
    level = (table[-1] - snapped) / (table[-1] - table[0])
    data = encode_audio(  # libsndfile refuses level 1 for MP3; just below, LAME snaps to the lowest rate all the same
        x, rate_hz, "mp3", "MPEG_LAYER_III", compression_level=min(level, 0.999), bitrate_mode="CONSTANT"
    )
    return data, float(snapped)


def _aligned(decoded: np.ndarray, length: int, codec: Codec) -> np.ndarray:
    """Decoded samples in time with what was encoded. MP3 frames of low bit rates are too small for the header that tells
    the decoder the delay; then more samples come back than went in, the first `MP3_DELAY` of them the codec's own."""
    if codec == "mp3" and decoded.shape[-1] > length:
        decoded = decoded[:, MP3_DELAY:]
    return fit(decoded, length)
