"""A take's sound for a page: played small (Ogg Vorbis or FLAC as a data URI, or a link), seen as a spectrogram and an outline.

The same samples give the same bytes. Knows no run and no HTML.
"""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import matplotlib
import numpy as np
import soundfile as sf
from matplotlib.image import imsave

from ...pipeline.audio_file import resample
from ...pipeline.take import Audio
from ...scoring.samples import Array
from ...scoring.time_frequency import CEILING_DB, FLOOR_DB, outline, time_frequency

Form = Literal["ogg", "flac", "link"]
PICTURE = (640, 168)  # columns, rows
POINTS = 320
LOWEST_PLAYED_HZ = 8_000  # Chromium refuses rates below 3 kHz; 8 kHz is played everywhere
_QUALITY = 0.6  # libsndfile's scale: about 160 kbit/s for stereo music at 48 kHz
_SERIAL = 0x5E90E  # any fixed number: libsndfile draws one, and the same sound would not give the same bytes
_MIRROR = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


@dataclass(frozen=True, eq=False)
class Media:
    """`url` for a player and what is behind it in words; `picture` a PNG as a data URI with its `edges_hz`; `wave`
    `[2, points]`, lowest and highest sample of all channels together."""

    url: str
    what: str
    bytes: int
    picture: str
    edges_hz: Array
    wave: Array


def media_of(audio: Audio, file: Path, form: Form, page_folder: Path) -> Media:
    """What the page needs of one take. A link is relative to the page's folder."""
    samples = audio.samples.numpy()
    if form == "link":
        url = quote(Path(os.path.relpath(file.resolve(), page_folder.resolve())).as_posix())
        what, count = f"link to {file.name}", 0
    else:
        factor = -(-LOWEST_PLAYED_HZ // audio.rate_hz)
        played = resample(audio, audio.rate_hz * factor) if factor > 1 else audio
        data, what, kind = encoded(played.samples.numpy(), played.rate_hz, form)
        what += f" at {played.rate_hz} Hz (browsers play nothing at {audio.rate_hz} Hz)" if factor > 1 else ""
        url, count = _data_uri(kind, data), len(data)
    field = time_frequency(samples, audio.rate_hz, columns=PICTURE[0], rows=PICTURE[1])
    edges = outline(samples, audio.rate_hz, POINTS)
    wave = np.nan_to_num(np.stack([edges[:, 0].min(axis=0), edges[:, 1].max(axis=0)]))
    return Media(url, what, count, _data_uri("image/png", _png(field.db)), field.edges_hz, wave)


def encoded(samples: Array, rate_hz: int, form: Literal["ogg", "flac"]) -> tuple[bytes, str, str]:
    """`[C, T]` as the bytes of a sound file, what it is in words, and its media type. Where Vorbis can't hold the sound (a very
    low or high rate) it is FLAC. Peaks above full scale are brought under it, as every player would otherwise cut them."""
    peak = float(np.abs(samples).max(initial=0.0))
    x = (samples / peak * 0.999 if peak > 1 else samples).T
    if form == "ogg":
        try:
            return _fixed_serial(_written(x, rate_hz, "OGG", "VORBIS")), "Ogg Vorbis", "audio/ogg"
        except sf.SoundFileError:
            pass
    return _written(x, rate_hz, "FLAC", "PCM_16"), "FLAC, 16 bit", "audio/flac"


def _written(x: Array, rate_hz: int, kind: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    level = {"compression_level": 1 - _QUALITY} if kind == "OGG" else {}
    with sf.SoundFile(buffer, "w", rate_hz, x.shape[1], subtype, format=kind, **level) as file:
        for start in range(0, len(x), rate_hz):  # a second at a time: Vorbis keeps a whole write on the stack
            file.write(x[start : start + rate_hz])
    return buffer.getvalue()


def _fixed_serial(data: bytes) -> bytes:
    """An Ogg stream under a fixed serial number, its pages' checksums (RFC 3533, 6: CRC-32, most significant bit first) made
    anew."""
    pages, place = bytearray(data), 0
    while pages[place : place + 4] == b"OggS":
        count = pages[place + 26]
        size = 27 + count + sum(pages[place + 27 : place + 27 + count])
        struct.pack_into("<I", pages, place + 14, _SERIAL)
        struct.pack_into("<I", pages, place + 22, 0)
        page = bytes(pages[place : place + size]).translate(_MIRROR)
        mirrored = zlib.crc32(page, 0xFFFFFFFF) ^ 0xFFFFFFFF  # from 0, and not inverted: zlib's, bits mirrored
        struct.pack_into("<I", pages, place + 22, int(f"{mirrored:032b}"[::-1], 2))
        place += size
    return bytes(pages)


def _png(db: Array) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        levels = np.clip(db, FLOOR_DB, CEILING_DB)
        settings: dict[str, Any] = {"vmin": FLOOR_DB, "vmax": CEILING_DB, "cmap": "magma", "origin": "lower", "format": "png"}
        settings["metadata"] = {"Software": None}
        imsave(buffer, np.round(levels), **settings)  # whole dB: half the bytes, no visible loss
    return buffer.getvalue()


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
