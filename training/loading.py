"""Batches drawn ahead of a training step: a step's batch follows from its number alone, so any process may draw it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


class _Steps(Dataset[Any]):
    """``draw`` as what torch's loader indexes: the item of a step is that step's batch."""

    def __init__(self, draw: Callable[[int], Any]) -> None:
        self.draw = draw

    def __getitem__(self, step: int) -> Any:
        return self.draw(step)


def _as_drawn(batch: Any) -> Any:
    return batch


def _one_thread(_: int) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)


def batches(
    draw: Callable[[int], Any], first: int, *, workers: int = 0, ahead: int = 4, pin: bool = False, last: int | None = None
) -> Iterator[Any]:
    """``draw(first)``, ``draw(first + 1)``, … up to before ``last``, or without end.

    With ``workers`` forked processes draw ``ahead`` batches each in advance, from what this process held when the first was
    asked for; with none each is drawn here when it is asked for. ``pin`` (with workers): page-locked memory, for copies to a GPU
    that need not be waited for (a batch that is not a tensor or a collection of them brings its own ``pin_memory``).
    """
    if workers < 0:
        raise ValueError(f"workers are {workers}; it must be 0 (this process draws) or more")
    steps = itertools.count(first) if last is None else range(first, last)
    if not workers:
        yield from map(draw, steps)
        return
    loader = DataLoader(
        _Steps(draw), batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=ahead,
        pin_memory=pin, worker_init_fn=_one_thread, multiprocessing_context="fork", collate_fn=_as_drawn,
    )  # fmt: skip
    yield from loader
