"""Writing sound files: never clipped silently, never half-written, the same bytes for the same samples and tags.

Nothing here knows takes, stages or what the tags say.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import scipy.io.wavfile
import soundfile as sf
import torch
from mutagen.ogg import OggPage

from .atomic import write_atomic
from .audio_tags import checked_tags, tagged
from .errors import Problem, RequestError, RunError, did_you_mean

FORMATS: dict[str, tuple[str, ...]] = {  # format -> subtypes, the default first
    "flac": ("PCM_24", "PCM_16"),
    "wav": ("PCM_24", "PCM_16", "FLOAT"),
    "ogg": ("VORBIS", "OPUS"),
    "mp3": ("MPEG_LAYER_III",),
}
MAX_CHANNELS = {"flac": 8, "wav": 8, "ogg": 8, "mp3": 2}
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # ISO 11172-3, 13818-3 and MPEG 2.5
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # RFC 6716 §2
_RATES: dict[str, tuple[int, ...] | range] = {
    "PCM_16": range(1, 655_351),  # RFC 9639 §9.1.2; WAV would hold more
    "PCM_24": range(1, 655_351),
    "FLOAT": range(1, 2**31),
    "VORBIS": range(8000, 200_001),
    "OPUS": _OPUS_RATES,
    "MPEG_LAYER_III": _MP3_RATES,
}
PEAK_CEILING = 10.0 ** (-0.01 / 20.0)  # −0.01 dBFS, where the guard puts peaks that were above full scale
_OGG_SERIAL = 0x53656775  # libsndfile draws one from the clock; a fixed one keeps the bytes the same


class Sound(Protocol):
    """Samples `[C, T]` at a rate: an `Audio`."""

    @property
    def samples(self) -> torch.Tensor: ...
    @property
    def rate_hz(self) -> int: ...
    @property
    def channels(self) -> int: ...


@dataclass(frozen=True)
class Written:
    """A sound file that was written.

    `gain_db` is what the peak guard did (0 when nothing; negative otherwise); `peak` the highest |sample| before it.
    `sha256` is over the samples as they decode from the file (`samples_sha256`).
    """

    path: Path
    gain_db: float
    peak: float
    sha256: str
    format: str
    subtype: str


def write_audio(
    path: str | Path,
    audio: Sound,
    *,
    format: str | None = None,
    subtype: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Written:
    """Write `audio` to `path`: FLAC and WAV in 24 bit unless `subtype` says otherwise, OGG (Vorbis, Opus) or MP3.

    `format` (flac, wav, ogg, mp3) follows the path's ending when left out. Peaks above full scale (|x| > 1) are brought to
    −0.01 dBFS by one gain over the whole sound, recorded in `gain_db`; float WAV (`subtype="FLOAT"`) is written raw.
    Folders are made; the file appears whole or not at all (temporary file, fsync, rename).

    Raises RequestError for a format, rate or channel count that the file can't hold, RunError for NaN or infinite samples
    (float WAV takes them) and for a disk that is full or read-only.
    """
    path = Path(path)
    kind, sub = chosen_format(path, format, subtype)
    checked = checked_tags(tags)
    x = audio.samples.detach().to("cpu", torch.float32).numpy()
    check_holds(kind, sub, audio.rate_hz, audio.channels)
    if x.shape[1] == 0:
        raise RunError(f"'{path.name}' was not written: the sound has no samples. Nothing upstream made any.")
    gain, peak = 1.0, float(np.abs(x).max())
    if sub != "FLOAT":
        _refuse_non_numbers(path, x, audio.rate_hz)
        if peak > 1.0:
            gain = PEAK_CEILING / peak
            x = (x.astype(np.float64) * gain).astype(np.float32)
    data = encode_audio(x, audio.rate_hz, kind, sub)
    decoded, _ = sf.read(io.BytesIO(data), dtype="float32", always_2d=True)
    write_atomic(path, tagged(data, checked), "the sound file")
    return Written(path, 20.0 * float(np.log10(gain)), peak, _sha256(decoded), kind, sub)


def samples_sha256(audio: Sound) -> str:
    """SHA-256 over the samples as little-endian float32, frame by frame (channels interleaved)."""
    return _sha256(audio.samples.detach().to("cpu", torch.float32).numpy().T)


def _sha256(frames: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(frames, dtype="<f4").tobytes()).hexdigest()


def chosen_format(path: Path, format: str | None, subtype: str | None) -> tuple[str, str]:
    """The format and subtype to write, from what was asked for and the path's ending; raises RequestError."""
    kind = (format or path.suffix.lstrip(".")).lower()
    if kind not in FORMATS:
        named = f"format '{kind}'" if format else f"the ending '{path.suffix}' of '{path.name}'"
        raise RequestError(
            Problem(cause=f"{named} names no format that can be written.{did_you_mean(kind, FORMATS)}",
                    fix=f"use {', '.join(FORMATS)}.")
        )
    sub = (subtype or FORMATS[kind][0]).upper()
    if sub not in FORMATS[kind]:
        raise RequestError(
            Problem(cause=f"{kind} holds no '{subtype}'.{did_you_mean(sub, FORMATS[kind])}",
                    fix=f"use {' or '.join(FORMATS[kind])}.")
        )
    return kind, sub


def check_holds(kind: str, subtype: str, rate_hz: int, channels: int) -> None:
    """Raise RequestError when a file of that kind can't hold sound of that rate or channel count."""
    if channels > MAX_CHANNELS[kind] or channels < 1:
        raise RequestError(
            Problem(cause=f"{kind} can't hold {channels} channels, only 1 to {MAX_CHANNELS[kind]}.",
                    fix="mix it down to stereo, or write flac or wav (1 to 8).")
        )
    rates = _RATES[subtype]
    if rate_hz not in rates:
        said = f"{rates[0]} to {rates[-1]}" if isinstance(rates, range) else ", ".join(map(str, rates))
        raise RequestError(
            Problem(cause=f"{kind} ({subtype}) can't hold a rate of {rate_hz} Hz, only {said}.",
                    fix="resample it (48000 Hz fits every format), or write flac.")
        )


def encode_audio(
    x: np.ndarray, rate_hz: int, kind: str, subtype: str, *, compression_level: float | None = None,
    bitrate_mode: str | None = None,
) -> bytes:
    """Samples `[C, T]` in [−1, 1] as the bytes of a file without tags. PCM is rounded to the nearest step; +1 becomes the
    highest one. `compression_level` in [0, 1] is libsndfile's for lossy formats (0 best quality, 1 smallest)."""
    frames = np.ascontiguousarray(x.T, dtype=np.float32)
    buffer = io.BytesIO()
    if subtype == "FLOAT":  # libsndfile would write the time of day into the file
        scipy.io.wavfile.write(buffer, rate_hz, frames)
        return buffer.getvalue()
    if kind == "wav" and frames.size * 3 > 2**32 - 4096:
        raise RequestError(Problem(cause="the sound is over the 4 GiB a WAV file can hold.", fix="write flac."))
    with sf.SoundFile(
        buffer, "w", rate_hz, frames.shape[1], subtype, format=kind.upper(),
        compression_level=compression_level, bitrate_mode=bitrate_mode,
    ) as file:
        file.write(_rounded(frames, int(subtype[4:])) if subtype.startswith("PCM_") else frames)
    return _fixed_serial(buffer.getvalue()) if kind == "ogg" else buffer.getvalue()


def _rounded(frames: np.ndarray, bits: int) -> np.ndarray:
    """Float samples as left-justified int32, rounded to `bits` (libsndfile itself cuts off for WAV)."""
    top = 2 ** (bits - 1)
    steps = np.clip(np.rint(frames.astype(np.float64) * top), -top, top - 1)
    return steps.astype(np.int32) << (32 - bits)


def _fixed_serial(data: bytes) -> bytes:
    """An Ogg file with one fixed stream serial number (page checksums made anew)."""
    source, out = io.BytesIO(data), io.BytesIO()
    while source.tell() < len(data):
        page = OggPage(source)
        page.serial = _OGG_SERIAL
        out.write(page.write())
    return out.getvalue()


def _refuse_non_numbers(path: Path, x: np.ndarray, rate_hz: int) -> None:
    bad = ~np.isfinite(x)
    if bad.any():
        frame = int(np.flatnonzero(bad.any(axis=0))[0])
        raise RunError(
            f"'{path.name}' was not written: {int(bad.sum())} of {x.size} samples are NaN or infinite, the first at sample "
            f"{frame} ({frame / rate_hz:.4f} s). To look at them, write a float WAV (format wav, subtype FLOAT)."
        )
