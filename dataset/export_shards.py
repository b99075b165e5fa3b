"""Shards of one split: ``data/train-00000-of-00003.parquet`` and on, each of bounded size. Knows no format's bytes."""

from __future__ import annotations

from contextlib import ExitStack

from .export_folder import CountedFile, ExportFolder


class Shards:
    """The shards of `split`, one open at a time; their names tell their number once all are there. `limit` is in bytes."""

    def __init__(self, folder: ExportFolder, split: str, ending: str, limit: int) -> None:
        self._folder, self._split, self._ending, self._limit = folder, split, ending, limit
        self._places: list[str] = []
        self._stack: ExitStack | None = None
        self._held = 0

    def full(self, size: int) -> bool:
        """Whether `size` more bytes would be too many for the shard that was begun."""
        return self._held > 0 and self._held + size > self._limit

    def count(self, size: int) -> None:
        """So many bytes are for the shard that is open or will be opened next."""
        self._held += size

    def begin(self) -> CountedFile:
        """The file of the next shard; `end` closes it."""
        self._stack = ExitStack()
        place = f"data/{self._split}-{len(self._places):05d}.{self._ending}"
        file = self._stack.enter_context(self._folder.file(place))
        self._places.append(place)
        return file

    def end(self) -> None:
        """Close the shard that is open, if any."""
        stack, self._stack, self._held = self._stack, None, 0
        if stack is not None:
            stack.close()

    def named(self) -> list[str]:
        """Give every shard its final name; gives their places."""
        count = len(self._places)
        for number, place in enumerate(self._places):
            self._places[number] = f"data/{self._split}-{number:05d}-of-{count:05d}.{self._ending}"
            self._folder.renamed(place, self._places[number])
        return self._places
