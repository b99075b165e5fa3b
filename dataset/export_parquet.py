"""Parquet that `datasets.load_dataset(folder)` opens: sounds as `Audio` features, written by pyarrow alone.

An audio column is ``struct<bytes: binary, path: string>``, and the schema's metadata ``huggingface`` tells the features (the
format of `datasets`' own `push_to_hub`). Rows are written in row groups of bounded size, files in shards. Knows no night.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .export_folder import ExportFolder
from .export_records import Record
from .export_shards import Shards

ROW_GROUP_BYTES, ROW_GROUP_ROWS = 32_000_000, 1000
_TEXT, _NUMBER, _WHOLE = "string", "float64", "int64"
_SIDE: dict[str, str | list[str]] = {
    "score": _NUMBER, "defects": [_TEXT], "take": _TEXT, "seed": _WHOLE, "model": _TEXT, "steps": _WHOLE, "shift": _NUMBER,
    "version": _TEXT, "codec": _TEXT, "frame_rate_hz": _NUMBER, "latent_samples": _WHOLE, "noise_seed": _WHOLE,
    "noise_shape": [_WHOLE], "t_start": _NUMBER,
}  # fmt: skip
COLUMNS: dict[str, str | list[str]] = {
    "id": _TEXT, "prompt": _TEXT, "lyrics": _TEXT, "bpm": _WHOLE, "keyscale": _TEXT, "duration_s": _NUMBER, "strategy": _TEXT,
    "metric": _TEXT, "margin": _NUMBER, "labeller": _TEXT, "group": _TEXT, "strata": _TEXT,
    **{f"{side}_{name}": kind for side in ("chosen", "rejected") for name, kind in _SIDE.items()},
}  # fmt: skip
"""Plain columns and what they hold; a list means a list of that."""
_ARROW = {_TEXT: pa.string(), _NUMBER: pa.float64(), _WHOLE: pa.int64()}
_AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_FRAMES = pa.list_(pa.list_(pa.float32()))


def features(rate_hz: int | None) -> dict[str, Any]:
    """The columns as `datasets` describes them. `rate_hz` is the sounds' rate, None where they have several: each is then read
    at its own. Lists are called ``Sequence``, which versions before 4 know too."""
    audio = {"sampling_rate": rate_hz, "_type": "Audio"}
    found: dict[str, Any] = {"id": _feature(_TEXT), "prompt": _feature(_TEXT), "chosen": audio, "rejected": audio}
    found |= {name: _feature(kind) for name, kind in COLUMNS.items() if name not in found}
    frames = {"feature": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}, "_type": "Sequence"}
    return {**found, "chosen_latent": frames, "rejected_latent": frames, "pair": _feature(_TEXT)}


def schema(rate_hz: int | None) -> pa.Schema:
    """The same for Arrow."""
    told = features(rate_hz)
    kinds: dict[str, pa.DataType] = {"chosen": _AUDIO, "rejected": _AUDIO, "chosen_latent": _FRAMES, "rejected_latent": _FRAMES,
                                     "pair": pa.string()}  # fmt: skip
    fields = [(name, kinds.get(name) or _arrow(COLUMNS[name])) for name in told]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": told}})})


def _feature(kind: str | list[str]) -> dict[str, Any]:
    if isinstance(kind, list):
        return {"feature": _feature(kind[0]), "_type": "Sequence"}
    return {"dtype": kind, "_type": "Value"}


def _arrow(kind: str | list[str]) -> pa.DataType:
    return pa.list_(_ARROW[kind[0]]) if isinstance(kind, list) else _ARROW[kind]


class ParquetWriter:
    """Writes the rows of one split: ``data/train-00000-of-00003.parquet``. Use as a context manager."""

    pattern = "data/{split}-*.parquet"

    def __init__(self, folder: ExportFolder, split: str, *, shard_bytes: int, rate_hz: int | None) -> None:
        self._shards = Shards(folder, split, "parquet", shard_bytes)
        self._schema = schema(rate_hz)
        self._rows: list[dict[str, Any]] = []
        self._held = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, record: Record) -> None:
        """One more row."""
        pair = json.dumps(record.json_pair(places=False), ensure_ascii=False, allow_nan=False)
        size = len(pair)
        row = {**record.columns(), "pair": pair}
        for name in ("chosen", "rejected"):
            side = getattr(record, name)
            row[name] = {"bytes": side.flac.read_bytes(), "path": f"{side.name}.flac"}
            row[f"{name}_latent"] = side.latent.frames if side.latent is not None else None
            size += len(row[name]["bytes"]) + (side.latent.frames.nbytes if side.latent is not None else 0)
        if self._shards.full(size):
            self._end_shard()
        self._rows.append(row)
        self._held += size
        self._shards.count(size)
        if self._held >= ROW_GROUP_BYTES or len(self._rows) >= ROW_GROUP_ROWS:
            self._end_row_group()

    def finish(self) -> list[str]:
        """Write what is left; gives the places of the shards."""
        self._end_shard()
        return self._shards.named()

    def __enter__(self) -> ParquetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:  # something failed, and the folder goes; what is open must not speak up later
            with contextlib.suppress(OSError, ValueError, pa.ArrowException):
                self._writer.close()
            with contextlib.suppress(OSError):
                self._shards.end()

    def _end_row_group(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            texts = [name for name in self._schema.names if self._schema.field(name).type == pa.string() and name != "pair"]
            file = pa.PythonFile(self._shards.begin(), mode="w")
            self._writer = pq.ParquetWriter(file, self._schema, compression="zstd", use_dictionary=texts)
        self._writer.write_table(self._table())
        self._rows, self._held = [], 0

    def _end_shard(self) -> None:
        self._end_row_group()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._shards.end()

    def _table(self) -> pa.Table:
        arrays = []
        for name in self._schema.names:
            if name.endswith("_latent"):
                arrays.append(_frames([row[name] for row in self._rows]))
            else:
                arrays.append(pa.array([row[name] for row in self._rows], type=self._schema.field(name).type))
        return pa.Table.from_arrays(arrays, schema=self._schema)


def _frames(latents: Sequence[np.ndarray | None]) -> pa.ListArray:
    """Frames `[T, D]` of each row as nested lists, without a Python number in between; none gives an empty list."""
    some = [x for x in latents if x is not None]
    lengths = [len(x) if x is not None else 0 for x in latents]
    widths = np.concatenate([np.zeros(0, np.int64), *(np.full(len(x), x.shape[1]) for x in some)])
    values = np.concatenate([np.zeros(0, np.float32), *(np.ascontiguousarray(x, dtype=np.float32).ravel() for x in some)])
    inner = pa.ListArray.from_arrays(_offsets(widths), pa.array(values, type=pa.float32()))
    return pa.ListArray.from_arrays(_offsets(lengths), inner)


def _offsets(lengths: Sequence[int] | np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), type=pa.int32())
