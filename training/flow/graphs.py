"""A training step's forward and backward pass as CUDA graphs: recorded once for every shape of its inputs, then replayed.

The miniature's passes are thousands of short kernels, and a GPU would wait for Python to launch each. Needs a loss without a
number read back from the device, and inputs of few shapes (padded prompts).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

WARM_UPS = 3


@dataclass
class _Recorded:
    graph: torch.cuda.CUDAGraph
    inputs: list[torch.Tensor]
    loss: torch.Tensor
    gradients: list[torch.Tensor | None]


class GraphedLoss:
    """``loss(*inputs)`` and its gradients in ``parameters``, for tensors on a CUDA device; the graphs share their memory."""

    def __init__(self, loss: Callable[..., torch.Tensor], parameters: list[torch.nn.Parameter]) -> None:
        self.loss, self.parameters = loss, parameters
        self.recorded: dict[tuple[torch.Size, ...], _Recorded] = {}

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The loss, a number on the device; leaves the gradients where ``backward`` leaves them."""
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self.recorded:
            self.recorded[shapes] = self._record(inputs)
        recorded = self.recorded[shapes]
        for own, given in zip(recorded.inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        recorded.graph.replay()
        for parameter, gradient in zip(self.parameters, recorded.gradients, strict=True):
            parameter.grad = gradient
        return recorded.loss.clone()

    def _record(self, inputs: tuple[torch.Tensor, ...]) -> _Recorded:
        own = [tensor.clone() for tensor in inputs]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(1 if self.recorded else WARM_UPS):
                self._forget()
                self.loss(*own).backward()
        torch.cuda.current_stream().wait_stream(side)
        self._forget()
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self.recorded.values())).graph.pool() if self.recorded else None
        # Another thread may be locking memory for the next batches meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            loss = self.loss(*own)
            loss.backward()
        return _Recorded(graph, own, loss.detach(), [parameter.grad for parameter in self.parameters])

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None
