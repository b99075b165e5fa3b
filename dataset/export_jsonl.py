"""Plain files: one line of JSON a pair, FLAC files and latents beside it, named by the hash of their samples.

A line is the pair's JSON exactly (its `audio_path`s name the export's own files), further facts beside it. A sound that is in
several pairs lies there once. Knows no night.
"""

from __future__ import annotations

import json
from contextlib import ExitStack

from .export_folder import ExportFolder
from .export_records import Record, audio_place, latent_place


class JsonLinesWriter:
    """Writes the rows of one split: ``data/train.jsonl``. Use as a context manager."""

    pattern = "data/{split}.jsonl"

    def __init__(self, folder: ExportFolder, split: str, *, shard_bytes: int, rate_hz: int | None) -> None:
        self._folder, self._place = folder, f"data/{split}.jsonl"
        self._stack = ExitStack()
        self._file = self._stack.enter_context(folder.file(self._place))

    def add(self, record: Record) -> None:
        """One more line, and the files it names."""
        for side in (record.chosen, record.rejected):
            self._folder.copy(audio_place(side), side.flac)
            if side.latent_file is not None:
                self._folder.copy(latent_place(side), side.latent_file)
        line = json.dumps(record.json_pair(places=True), ensure_ascii=False, allow_nan=False)
        self._file.write(line.encode("utf-8") + b"\n")

    def finish(self) -> list[str]:
        """End the file; gives its place."""
        self._stack.close()
        return [self._place]

    def __enter__(self) -> JsonLinesWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
