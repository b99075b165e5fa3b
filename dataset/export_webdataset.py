"""WebDataset shards: tar files in which the files of one pair stand together and share a stem.

A pair is ``KEY.json`` (the pair, facts beside it), ``KEY.chosen.flac``, ``KEY.rejected.flac`` and, as float32 arrays `[T, D]`,
``KEY.chosen.npy`` and ``KEY.rejected.npy`` (the clean latents; `[0, 0]` where a take has none, because readers want every
sample to hold the same files). KEY is the pair's number in its split and its id. Knows no night.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile

import numpy as np

from .export_folder import ExportFolder
from .export_records import Record, Side
from .export_shards import Shards


class WebDatasetWriter:
    """Writes the rows of one split: ``data/train-00000-of-00003.tar``. Use as a context manager."""

    pattern = "data/{split}-*.tar"

    def __init__(self, folder: ExportFolder, split: str, *, shard_bytes: int, rate_hz: int | None) -> None:
        self._shards = Shards(folder, split, "tar", shard_bytes)
        self._count = 0
        self._tar: tarfile.TarFile | None = None

    def add(self, record: Record) -> None:
        """One more pair."""
        text = json.dumps(record.json_pair(places=False), ensure_ascii=False, allow_nan=False)
        parts = {
            "json": text.encode("utf-8"), "chosen.flac": record.chosen.flac.read_bytes(),
            "rejected.flac": record.rejected.flac.read_bytes(), "chosen.npy": _array(record.chosen),
            "rejected.npy": _array(record.rejected),
        }  # fmt: skip
        size = sum(map(len, parts.values()))
        if self._shards.full(size):
            self._end_shard()
        if self._tar is None:
            self._tar = tarfile.TarFile(fileobj=self._shards.begin(), mode="w", format=tarfile.USTAR_FORMAT)  # type: ignore
        for ending, data in parts.items():
            info = tarfile.TarInfo(f"{self._count:07d}_{record.pair.id}.{ending}")  # owner, time and host stay at nothing
            info.size, info.mode = len(data), 0o644
            self._tar.addfile(info, io.BytesIO(data))
        self._shards.count(size)
        self._count += 1

    def finish(self) -> list[str]:
        """End the last shard; gives the places of all."""
        self._end_shard()
        return self._shards.named()

    def __enter__(self) -> WebDatasetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tar is not None:  # something failed, and the folder goes
            with contextlib.suppress(OSError):
                self._shards.end()

    def _end_shard(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar = None
        self._shards.end()


def _array(side: Side) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, side.latent.frames.astype("<f4") if side.latent is not None else np.zeros((0, 0), "<f4"), allow_pickle=False)
    return buffer.getvalue()
