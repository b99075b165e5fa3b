"""Where a trainer computes, and how freely."""

from __future__ import annotations

import torch


def prepare(device: str, threads: int) -> None:
    """``threads`` for what a CPU computes; on a GPU products of float32 matrices in TF32 and the fastest convolutions."""
    torch.set_num_threads(threads)
    if device != "cpu":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for every length of a prompt
