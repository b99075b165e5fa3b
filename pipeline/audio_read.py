"""Reading sound files: facts from the header, samples as float32, and errors that say what is wrong with the file.

The content decides, not the name's ending: an MP3 called `.wav` is read as the MP3 it is. This module knows nothing of
takes' seeds, models or the store.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile as sf
import torch

from .audio_convert import MAX_CHANNELS
from .errors import Problem, RequestError, did_you_mean
from .take import Audio

MAX_DURATION_S = 3600.0   # the longest a prompt may ask for; callers that know a model's own limit pass that
MIN_DURATION_S = 0.01
RATES_HZ = (1_000, 768_000)
_BLOCK = 1 << 20
_READABLE = "WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF, CAF, AU, W64 or RF64"
_AGAIN = "copy or export the file again; part of it is lost."
_NO_OGG_END = "its last Ogg page is not marked as the end of the stream"
_CONVERT = "ffmpeg -i INPUT OUTPUT.flac makes one that can be read"


@dataclass(frozen=True)
class AudioFacts:
    """What a file's header says. `format` and `subtype` are libsndfile's names of what the content is (`FLAC`, `PCM_24`).

    `frames` (samples a channel) and `duration_s` are None when the header of a stream doesn't tell.
    """

    path: Path
    duration_s: float | None
    frames: int | None
    rate_hz: int
    channels: int
    format: str
    subtype: str


def refusal(path: Path, cause: str, fix: str) -> RequestError:
    """The error for an audio file that can't be used; `cause` continues "audio file 'x' …"."""
    return RequestError(Problem(cause=f"audio file '{path}' {cause}", fix=fix))


def probe_audio(path: str | Path) -> AudioFacts:
    """Facts of a sound file from its header alone; no samples are decoded.

    Raises RequestError when the file is missing, a folder, unreadable, empty, or no sound file.
    """
    path = Path(path)
    with _opened(path) as file, _sound(path, file) as sound:
        return _facts(path, sound)


def read_audio(
    path: str | Path, *, max_duration_s: float | None = None, min_duration_s: float = MIN_DURATION_S
) -> Audio:
    """The samples of a sound file, float32 `[C, T]`, raw (a float file may exceed ±1), at the file's own rate.

    `max_duration_s` (default one hour) is compared with the header before a sample is read. Raises RequestError when the
    file is missing, a folder, unreadable, empty, no sound file, cut short, too long, shorter than `min_duration_s`, holds
    NaN or infinity, or has more than 8 channels or a rate outside 1–768 kHz.
    """
    path = Path(path)
    limit_s = MAX_DURATION_S if max_duration_s is None else max_duration_s
    with _opened(path) as file, _sound(path, file) as sound:
        facts = _facts(path, sound)
        _check_size(facts, limit_s)
        missing = _bytes_missing(path, facts)
        if missing:
            raise refusal(path, f"is cut short: {missing}.", _AGAIN)
        x = _samples(facts, sound, limit_s)
    if facts.frames is not None and len(x) < facts.frames:
        raise refusal(
            path,
            f"is cut short: its header promises {facts.frames} samples ({facts.duration_s:.2f} s), "
            f"{len(x)} ({len(x) / facts.rate_hz:.2f} s) are there.",
            _AGAIN,
        )
    _check_samples(path, x, facts.rate_hz, min_duration_s)
    return Audio(torch.from_numpy(np.ascontiguousarray(x.T)), facts.rate_hz)


def _opened(path: Path) -> BinaryIO:
    """The file, open for reading bytes; every reason why that can't be is told."""
    if path.is_dir():
        raise refusal(path, "is a folder.", "name one sound file in it.")
    if not path.exists():
        near = did_you_mean(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
        where = "" if path.parent.is_dir() else f" (there is no folder '{path.parent}' either)"
        raise refusal(path, f"does not exist{where}.{near}", "write the path of a sound file that exists.")
    if not path.is_file():
        raise refusal(path, "is a device or a pipe, not a file.", "save the sound to a file first.")
    try:
        file = path.open("rb")
    except OSError as error:
        raise refusal(path, f"can't be opened: {error.strerror}.", "make the file readable.") from error
    if path.stat().st_size == 0:
        file.close()
        raise refusal(path, "is empty (0 bytes).", "export it again; nothing was written to it.")
    return file


def _sound(path: Path, file: BinaryIO) -> sf.SoundFile:
    """The open file as a sound, recognised by content (through its descriptor, so that the name plays no part)."""
    try:
        return sf.SoundFile(file.fileno(), closefd=False)
    except (sf.SoundFileError, TypeError) as error:
        if _first_bytes(path).startswith(b"OggS") and not _ogg_ends(path):
            raise refusal(path, f"is cut short: {_NO_OGG_END}.", _AGAIN) from error
        raise refusal(
            path,
            f"is not a sound file that can be read ({_reason(error)}); its first bytes are {_first_bytes(path)!r}.",
            f"give {_READABLE}; {_CONVERT}.",
        ) from error


def _facts(path: Path, sound: sf.SoundFile) -> AudioFacts:
    known = 0 <= sound.frames < 2**60
    frames = int(sound.frames) if known else None
    if frames == 0:
        if sound.format == "OGG" and not _ogg_ends(path):
            raise refusal(path, f"is cut short: {_NO_OGG_END}.", _AGAIN)
        raise refusal(path, "holds no samples.", "export it again; only the header was written.")
    return AudioFacts(
        path=path,
        duration_s=None if frames is None else frames / sound.samplerate,
        frames=frames,
        rate_hz=int(sound.samplerate),
        channels=int(sound.channels),
        format=sound.format,
        subtype=sound.subtype,
    )


def _check_size(facts: AudioFacts, limit_s: float) -> None:
    if facts.duration_s is not None and facts.duration_s > limit_s:
        raise _too_long(facts.path, facts.duration_s, limit_s)
    if facts.channels > MAX_CHANNELS:
        raise refusal(
            facts.path, f"has {facts.channels} channels; at most {MAX_CHANNELS} are understood.", "export it in stereo."
        )
    if not RATES_HZ[0] <= facts.rate_hz <= RATES_HZ[1]:
        raise refusal(
            facts.path,
            f"says its rate is {facts.rate_hz} Hz; sound is read at {RATES_HZ[0]} to {RATES_HZ[1]} Hz.",
            "export it at 44100 or 48000 Hz.",
        )


def _too_long(path: Path, duration_s: float, limit_s: float) -> RequestError:
    return refusal(
        path,
        f"lasts {_clock(duration_s)}; the limit here is {_clock(limit_s)} ({limit_s:g} s).",
        f"cut it first, e.g. ffmpeg -i INPUT -t {limit_s:g} OUTPUT.flac.",
    )


def _samples(facts: AudioFacts, sound: sf.SoundFile, limit_s: float) -> np.ndarray:
    """All samples `[T, C]` float32, read in blocks so that a header that lies can't fill the memory."""
    blocks: list[np.ndarray] = []
    count = 0
    try:
        while True:
            block = sound.read(_BLOCK, dtype="float32", always_2d=True)
            if not len(block):
                break
            blocks.append(block)
            count += len(block)
            if count > limit_s * facts.rate_hz:
                raise _too_long(facts.path, count / facts.rate_hz, limit_s)
    except sf.SoundFileError as error:
        raise refusal(
            facts.path,
            f"is damaged or cut short: decoding stopped near {count / facts.rate_hz:.2f} s ({_reason(error)}).",
            _AGAIN,
        ) from error
    if not blocks:
        raise refusal(facts.path, "holds no samples.", "export it again; only the header was written.")
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _check_samples(path: Path, x: np.ndarray, rate_hz: int, min_duration_s: float) -> None:
    if len(x) < min_duration_s * rate_hz:
        raise refusal(
            path,
            f"holds {len(x)} sample{'s' if len(x) > 1 else ''} ({len(x) / rate_hz * 1000:.3g} ms); "
            f"at least {min_duration_s * 1000:g} ms are needed.",
            "give a longer clip.",
        )
    bad = ~np.isfinite(x)
    if bad.any():
        frame, channel = (int(v) for v in np.argwhere(bad)[0])
        what = "NaN (not a number)" if np.isnan(x[frame, channel]) else "infinity"
        raise refusal(
            path,
            f"holds {what} at sample {frame} ({frame / rate_hz:.4f} s) of channel {channel + 1}; "
            f"{int(bad.sum())} samples in all are no numbers.",
            "export it again from its source, or cut that place out.",
        )


def _bytes_missing(path: Path, facts: AudioFacts) -> str:
    """Why the file can't be whole, for formats whose decoders cut silently (WAV, OGG); empty when nothing shows."""
    if facts.format in ("WAV", "WAVEX"):
        promised, there = _riff_data_bytes(path)
        if promised > there:
            return f"its header promises {promised} bytes of samples, {there} are there"
    if facts.format == "OGG" and not _ogg_ends(path):
        return _NO_OGG_END
    return ""


def _riff_data_bytes(path: Path) -> tuple[int, int]:
    """Bytes the `data` chunk promises, and bytes that are there. A size of 0 or 2³²−1 (streams) promises nothing."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        order = ">" if head[:4] == b"RIFX" else "<"
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack(f"{order}4sI", chunk)
            if name == b"data":
                here = size - file.tell()
                return (0, here) if length in (0, 0xFFFFFFFF) else (length, here)
            file.seek(length + length % 2, 1)
    return 0, 0


def _ogg_ends(path: Path) -> bool:
    """Whether the last Ogg page (RFC 3533 §6) is whole and carries the end-of-stream flag."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 2 * 65_307))  # a page has at most 65,307 bytes
        tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        return False
    segments = tail[at + 26]
    body = sum(tail[at + 27 : at + 27 + segments])
    return bool(tail[at + 5] & 4) and len(tail) >= at + 27 + segments + body


def _reason(error: Exception) -> str:
    """libsndfile's own word, without the prefix that repeats the name; its MP3 decoder gives misleading ones."""
    text = getattr(error, "error_string", str(error)).strip().removeprefix("Error : ").rstrip(".")
    return "no frame of any known format found" if "not a regular file" in text or "must be specified" in text else text


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)


def _clock(seconds: float) -> str:
    whole = round(seconds)
    h, m, s = whole // 3600, whole // 60 % 60, whole % 60
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m}:{s:02d} min" if m else f"{seconds:.3g} s"
