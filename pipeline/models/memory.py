"""Memory and devices: a cache bounded in bytes, what is free, what "out of memory" looks like, number types by name.

This module knows no model family.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import Problem, RequestError

_T = TypeVar("_T", bound=tuple[Tensor, ...])
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_OUT_OF_MEMORY_TEXTS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
)


class TensorMemory:
    """Tuples of tensors by key, the least recently used forgotten when `limit_bytes` is exceeded."""

    def __init__(self, limit_bytes: int = 256 * 2**20) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._kept: OrderedDict[Hashable, tuple[Tensor, ...]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What is kept under `key`, made now when it is not."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]  # type: ignore[return-value]
        value = make()
        self._kept[key] = value
        self._size += _bytes(value)
        while self._size > self._limit and len(self._kept) > 1:
            self._size -= _bytes(self._kept.popitem(last=False)[1])
        return value

    def clear(self) -> None:
        self._kept.clear()
        self._size = 0


def _bytes(tensors: tuple[Tensor, ...]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on an accelerator or on the CPU: the micro-batch can be halved then."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(
        text in str(error).lower() for text in _OUT_OF_MEMORY_TEXTS
    )


def torch_type(name: str) -> torch.dtype:
    """The torch type of that name. Raises RequestError for one that models don't run in."""
    if name not in _TYPES:
        raise RequestError(
            Problem(f"there is no number type '{name}' for models.", f"use one of {', '.join(_TYPES)}.")
        )
    return _TYPES[name]


def free_bytes(device: str) -> int:
    """Memory that is free on the device right now, with what torch itself keeps there unused."""
    if torch.device(device).type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    import psutil

    return int(psutil.virtual_memory().available)
