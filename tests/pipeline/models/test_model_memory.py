"""What is remembered stays within bounds; what "out of memory" is; types by name."""

from __future__ import annotations

import pytest
import torch
from segue.pipeline.errors import RequestError
from segue.pipeline.models.memory import TensorMemory, free_bytes, is_out_of_memory, torch_type


def test_remembered_tensors_are_made_once_and_bounded():
    made = []

    def make(n):
        made.append(n)
        return (torch.full((256,), float(n)),)  # 1024 bytes

    memory = TensorMemory(limit_bytes=3000)
    for n in (1, 2, 1, 3):
        assert memory.get(n, lambda n=n: make(n))[0][0] == n
    assert made == [1, 2, 3]
    memory.get(1, lambda: make(1))  # still there: it was used after 2
    memory.get(2, lambda: make(2))
    assert made == [1, 2, 3, 2]


def test_out_of_memory_is_told_apart():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory")) and is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match")) and not is_out_of_memory(ValueError("out of memory"))


def test_number_types_by_name():
    assert torch_type("bfloat16") is torch.bfloat16
    with pytest.raises(RequestError, match="no number type 'int8'"):
        torch_type("int8")
    assert free_bytes("cpu") > 2**20
