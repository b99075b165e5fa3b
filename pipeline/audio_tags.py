"""Tags of sound files: arbitrary keys and texts in FLAC and OGG (Vorbis comments), MP3 and WAV (ID3 `TXXX` frames).

`TITLE` and `COMMENT` go to the fields players show. Same tags in, same bytes out. Knows nothing of what tags mean;
the keys Segue writes are in `pipeline/tags.py`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import mutagen
from mutagen.id3 import COMM, ID3, TIT2, TXXX
from mutagen.wave import WAVE

from .errors import Problem, RequestError

_ID3_NAMES = {"TIT2": "TITLE", "COMM": "COMMENT", "TXXX": ""}  # "": the frame's own description
_KEY = re.compile(r"[A-Z][A-Z0-9_.-]*")


def checked_tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    """`tags` with upper-case keys, sorted, empty ones left out. Raises RequestError for a key or a text that no sound
    file can carry."""
    found: dict[str, str] = {}
    for key, text in (tags or {}).items():
        name = key.upper()
        if not _KEY.fullmatch(name) or len(name) > 64:
            raise RequestError(
                Problem(
                    cause=f"'{key}' is no tag name.",
                    fix="tag names start with a letter and hold letters, digits, '_', '.' and '-', 64 at most.",
                )
            )
        if not isinstance(text, str) or "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            raise RequestError(
                Problem(
                    cause=f"tag {name} is {type(text).__name__} {str(text)[:40]!r}; tags are text without NUL characters.",
                    fix="give a string (JSON for anything structured).",
                )
            )
        if name in found:
            raise RequestError(Problem(cause=f"tag {name} is given twice.", fix="write each tag once; case doesn't count."))
        if text:  # WAV's frames can't tell an empty text from none, so no format gets one
            found[name] = text
    return dict(sorted(found.items()))


def tagged(data: bytes, tags: Mapping[str, str]) -> bytes:
    """The bytes of a FLAC, OGG, MP3 or WAV file with `tags` added (none: the bytes as they are)."""
    if not tags:
        return data
    buffer = io.BytesIO(data)
    file = mutagen.File(buffer)
    if file is None:
        raise ValueError("these bytes are no file that can carry tags")
    if file.tags is None:
        file.add_tags()
    for key, text in tags.items():
        if not isinstance(file.tags, ID3):
            file.tags[key] = [text]
        elif key == "TITLE":
            file.tags.add(TIT2(encoding=3, text=[text]))
        elif key == "COMMENT":
            file.tags.add(COMM(encoding=3, lang="eng", desc="", text=[text]))
        else:
            file.tags.add(TXXX(encoding=3, desc=key, text=[text]))
    buffer.seek(0)
    file.save(buffer) if isinstance(file, WAVE) or not isinstance(file.tags, ID3) else file.save(buffer, v1=0)
    return buffer.getvalue()


def read_tags(path: str | Path) -> dict[str, str]:
    """The tags of a sound file: upper-case keys, texts (several values of one key joined by line ends).

    Empty when the file carries none. Raises RequestError when the file is missing or no sound file that can carry tags.
    """
    path = Path(path)
    try:
        file = mutagen.File(path)
    except (mutagen.MutagenError, OSError) as error:
        raise RequestError(Problem(cause=f"no tags can be read from '{path}': {error}.", fix="name a sound file.")) from error
    if file is None:
        raise RequestError(
            Problem(cause=f"'{path}' is no sound file that carries tags.", fix="name a FLAC, OGG, MP3 or WAV file.")
        )
    if file.tags is None:
        return {}
    found: dict[str, list[str]] = {}
    if isinstance(file.tags, ID3):
        for frame in file.tags.values():
            if frame.FrameID in _ID3_NAMES:
                name = _ID3_NAMES[frame.FrameID] or frame.desc.upper()
                found.setdefault(name, []).extend(str(text) for text in frame.text)
    else:
        for key, value in file.tags.items():
            texts = value if isinstance(value, list) else [value]
            found.setdefault(str(key).upper(), []).extend(str(text) for text in texts)
    return {key: "\n".join(values) for key, values in sorted(found.items())}
