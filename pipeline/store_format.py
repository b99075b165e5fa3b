"""How one store entry lies on disk: a header (JSON, with its own checksum) and one safetensors file a view.

Pure: bytes in, bytes out. Knows no folder and no key.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import safetensors
import safetensors.torch
import torch

from ..scoring.report import QualityReport
from .context import Result
from .prompt import Prompt
from .take import Audio, Latent

FORMAT = 1
View = Audio | Latent


class DamagedError(Exception):
    """What lies in the store is not what was written. Internal: the store turns it into a warning and an
    absence."""


@dataclass(frozen=True, eq=False)
class Entry:
    """What is kept of one take. The views, and beside them plain facts.

    `same_signal`: the take has its source's sound, so it has no view of its own. `prompt` is laid over the
    job's prompt; `facts` go into the take's lineage; `steps_run` and `forwards` are what making it took; `decodes`: its audio,
    whether here or not, is what its latent decodes to.
    """

    audio: Audio | None = None
    latent: Latent | None = None
    same_signal: bool = False
    prompt: Prompt | None = None
    report: QualityReport | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    steps_run: int = 0
    forwards: int = 0
    decodes: bool = False

    @classmethod
    def of(cls, result: Result) -> Entry:
        """The entry that keeps a stage's result."""
        return cls(**{name: getattr(result, name) for name in _SHARED})

    def result(self) -> Result:
        """The stage's result again."""
        return Result(**{name: getattr(self, name) for name in _SHARED})

    def views(self) -> dict[str, View]:
        """The views there are, by name (``audio``, ``latent``)."""
        both: dict[str, View | None] = {"audio": self.audio, "latent": self.latent}
        return {name: view for name, view in both.items() if view is not None}


_SHARED = ("audio", "latent", "same_signal", "prompt", "report", "facts", "steps_run", "forwards", "decodes")


@dataclass(frozen=True)
class ViewFile:
    """A view's file as the header names it: `bytes` long, with this `checksum` over the whole file."""

    name: str
    crc: int
    bytes: int


def checksum(data: bytes) -> int:
    """CRC-32 (ISO 3309) of a view's file. It guards against accidents, not malice: every flipped bit and every burst of
    up to 32 bits shows, other damage but for one time in 2**32; and it is some eight times faster than SHA-256 on a
    processor without instructions for that."""
    return zlib.crc32(data)


def encode_view(view: View) -> bytes:
    """A view as a safetensors file: one tensor (``samples`` `[C, T]` or ``frames`` `[T, D]`, float32), its
    facts in the metadata; for a step checkpoint its state beside it. The same view always gives the same bytes."""
    tensor = view.samples if isinstance(view, Audio) else view.frames
    if tensor.dtype != torch.float32:
        raise TypeError(f"the store keeps float32 samples and frames, got {tensor.dtype}; convert before putting")
    tensor = tensor.detach().to("cpu").contiguous()
    facts: dict[str, Any]
    if isinstance(view, Audio):
        name, facts = "samples", {"kind": "audio", "rate_hz": view.rate_hz}
    else:
        name, facts = "frames", {"kind": "latent", "frame_rate_hz": view.frame_rate_hz, "codec": view.codec,
                                 "t": view.t, "samples": view.samples}
    # One metadata entry: safetensors writes several in no fixed order, and the bytes name the file.
    state = {} if isinstance(view, Audio) else {f"state.{k}": v.detach().to("cpu").contiguous() for k, v in view.state.items()}
    return safetensors.torch.save({name: tensor, **state}, metadata={"segue": json.dumps(facts, sort_keys=True)})


def decode_view(data: bytes, file: ViewFile) -> View:
    """The view in `data`, after its length and checksum proved right. Raises `DamagedError`."""
    if len(data) != file.bytes:
        raise DamagedError(f"{file.name} has {len(data)} bytes, {file.bytes} were written")
    if checksum(data) != file.crc:
        raise DamagedError(f"{file.name} does not match its checksum")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    facts = json.loads(header["__metadata__"]["segue"])
    tensors = safetensors.torch.load(data)
    if facts["kind"] == "audio":
        return Audio(tensors["samples"], facts["rate_hz"])
    state = {name.removeprefix("state."): tensor for name, tensor in tensors.items() if name.startswith("state.")}
    return Latent(tensors["frames"], facts["frame_rate_hz"], facts["codec"], facts["t"], facts["samples"], state)


def encode_header(entry: Entry, views: Mapping[str, ViewFile], created: float) -> bytes:
    """The header: the entry's facts and the checksums of its views, under a checksum of its own."""
    body = {
        "format": FORMAT,
        "created": created,
        "views": {kind: [f.name, f.crc, f.bytes] for kind, f in views.items()},
        "same_signal": entry.same_signal,
        "prompt": None if entry.prompt is None else entry.prompt.facts(),
        "report": None if entry.report is None else entry.report.model_dump(mode="json"),
        "facts": dict(entry.facts),
        "steps_run": entry.steps_run,
        "forwards": entry.forwards,
        "decodes": entry.decodes,
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return f'{{"sha256":"{hashlib.sha256(text.encode("ascii")).hexdigest()}","body":{text}}}\n'.encode("ascii")


@dataclass(frozen=True)
class Header:
    """A header read back: the facts (an `Entry` without views), the view files, the time it was made."""

    entry: Entry
    views: Mapping[str, ViewFile]
    created: float

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.views.values())


def decode_header(data: bytes) -> Header:
    """The header in `data`, after its checksum proved right. Raises `DamagedError`."""
    prefix, infix, suffix = b'{"sha256":"', b'","body":', b"}\n"
    start = len(prefix) + 64
    text = data[start + len(infix) : -len(suffix)]
    if not (data.startswith(prefix) and data[start:].startswith(infix) and data.endswith(suffix)):
        raise DamagedError("the header is cut off or is no header")
    if hashlib.sha256(text).hexdigest().encode("ascii") != data[len(prefix) : start]:
        raise DamagedError("the header does not match its checksum")
    body = json.loads(text)
    if body["format"] != FORMAT:
        raise DamagedError(f"the header has format {body['format']}, this Segue reads format {FORMAT}")
    entry = Entry(
        same_signal=body["same_signal"],
        prompt=None if body["prompt"] is None else Prompt(**body["prompt"]),
        report=None if body["report"] is None else QualityReport.model_validate(body["report"]),
        facts=body["facts"], steps_run=body["steps_run"], forwards=body["forwards"],
        decodes=body.get("decodes", False),  # entries of before did not say
    )
    return Header(entry, {kind: ViewFile(*file) for kind, file in body["views"].items()}, body["created"])
