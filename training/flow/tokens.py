"""Train audio tokenizer and detokenizer: ``python -m segue.training.flow.tokens --cache DIR --out DIR --minutes 5``.

24 bits every 0.2 s cannot carry 320 latent numbers; what survives is what the loss asks for. Beside the latents' own
error the loss asks a small throw-away head to read the sounding pitch classes and the loudness from the detokenised
latents, so melody, harmony and rhythm go first. diffusers' quantiser has no gradient; training uses the
straight-through estimator.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.ace_step.modeling_ace_step import AceStepAudioTokenDetokenizer, AceStepAudioTokenizer
from torch import nn

from ..mini import LATENT_DIM, make_mini
from .cache import load_shards


def straight_through(tokenizer: AceStepAudioTokenizer) -> None:
    """Give the quantiser's rounding the gradient of the identity (same values)."""
    quantizer = tokenizer.quantizer
    rounded = quantizer._quantize

    def quantize(x: torch.Tensor) -> torch.Tensor:
        return x + (rounded(x) - x).detach()

    quantizer._quantize = quantize


class PitchReader(nn.Module):
    """Reads pitch classes ``[B, T, 12]`` (logits) from latents; used for training only."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(LATENT_DIM, 128, 5, padding=2), nn.SiLU(), nn.Conv1d(128, 128, 5, padding=2), nn.SiLU(),
            nn.Conv1d(128, 12, 1),
        )  # fmt: skip

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.layers(latents.transpose(1, 2)).transpose(1, 2)


def draw(items: list[dict[str, Any]], size: int, frames: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents ``[B, T, 64]`` and pitch classes ``[B, T, 12]``; a fifth of the examples are the mix without a stem."""
    rng = np.random.default_rng([11, step])
    latents, pitches = [], []
    for index in rng.integers(len(items), size=size):
        item = items[int(index)]
        start = int(rng.integers(0, len(item["mix"]) - frames + 1))
        latents.append(item["mix"][start : start + frames].float())
        pitches.append(item["pitch_classes"][start : start + frames].float())
    return torch.stack(latents), torch.stack(pitches)


def losses(
    tokenizer: AceStepAudioTokenizer, detokenizer: AceStepAudioTokenDetokenizer, reader: PitchReader,
    latents: torch.Tensor, pitches: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Mean squared error of the detokenised latents, and the reader's binary cross-entropy."""
    quantized, _ = tokenizer.tokenize(latents)
    restored = detokenizer(quantized)
    entropy = nn.functional.binary_cross_entropy_with_logits(reader(restored), pitches)
    return (restored - latents).pow(2).mean(), entropy


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.flow.tokens", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    mini, reader, known = make_mini(), PitchReader(), set[str]()
    tokenizer, detokenizer = mini.audio_tokenizer, mini.audio_token_detokenizer
    straight_through(tokenizer)
    items = load_shards(args.cache, known)
    judged, items = items[:32], items[32:]
    modules = (tokenizer, detokenizer, reader)
    optimizer = torch.optim.AdamW([p for m in modules for p in m.parameters()], lr=args.rate, weight_decay=0.01)
    start, step, marked = time.monotonic(), 0, 0.0
    while (spent := time.monotonic() - start) < 60 * args.minutes:
        share = spent / (60 * args.minutes)
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 100) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * share)))
        error, entropy = losses(tokenizer, detokenizer, reader, *draw(items, args.batch, 100, step))
        loss = error + 1.5 * entropy
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
        optimizer.step()
        step += 1
        if spent - marked > 45 or step == 1:
            marked = spent
            items += load_shards(args.cache, known)
            with torch.no_grad():
                held = losses(tokenizer, detokenizer, reader, *draw(judged, 32, 200, 0))
            print(step, round(spent), f"train {error:.3f} {entropy:.3f} held {held[0]:.3f} {held[1]:.3f}", len(items),
                  flush=True)
            save(args.out, tokenizer, detokenizer)
    save(args.out, tokenizer, detokenizer)
    return 0


def save(out: Path, tokenizer: AceStepAudioTokenizer, detokenizer: AceStepAudioTokenDetokenizer) -> None:
    out.mkdir(parents=True, exist_ok=True)
    state = {"audio_tokenizer": tokenizer.state_dict(), "audio_token_detokenizer": detokenizer.state_dict()}
    torch.save(state, out / "tokens.pt")


if __name__ == "__main__":
    raise SystemExit(main())
