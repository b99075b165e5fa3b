"""Train audio tokenizer and detokenizer: ``python -m segue.training.flow.tokens --cache DIR --out DIR --minutes 5``.

24 bits every 0.2 s cannot carry 320 latent numbers; what survives is what the loss asks for. Beside the latents' own
error the loss asks a small throw-away head to read pitch classes and band levels from the detokenised latents, so
melody, harmony and rhythm go first. diffusers' quantiser has no gradient; training uses the straight-through estimator.
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

from ..device import prepare
from ..mini import LATENT_DIM, make_mini
from ..progress import write
from .cache import load_shards, wait_for_shards


def straight_through(tokenizer: AceStepAudioTokenizer) -> None:
    """Give the quantiser's rounding the gradient of the identity (same values)."""
    quantizer = tokenizer.quantizer
    rounded = quantizer._quantize

    def quantize(x: torch.Tensor) -> torch.Tensor:
        return x + (rounded(x) - x).detach()

    quantizer._quantize = quantize


class SkeletonReader(nn.Module):
    """Reads the skeleton ``[B, T, 16]`` (pitch classes and levels, see ``cache.skeleton``) from latents; training only."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(LATENT_DIM, 128, 5, padding=2), nn.SiLU(), nn.Conv1d(128, 128, 5, padding=2), nn.SiLU(),
            nn.Conv1d(128, 16, 1),
        )  # fmt: skip

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.layers(latents.transpose(1, 2)).transpose(1, 2)


def draw(items: list[dict[str, Any]], size: int, frames: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents ``[B, T, 64]`` and skeletons ``[B, T, 16]`` of random crops."""
    rng = np.random.default_rng([11, step])
    latents, skeletons = [], []
    for index in rng.integers(len(items), size=size):
        item = items[int(index)]
        start = int(rng.integers(0, len(item["mix"]) - frames + 1))
        latents.append(item["mix"][start : start + frames].float())
        skeletons.append(item["skeleton"][start : start + frames].float())
    return torch.stack(latents), torch.stack(skeletons)


def losses(
    tokenizer: AceStepAudioTokenizer, detokenizer: AceStepAudioTokenDetokenizer, reader: SkeletonReader,
    latents: torch.Tensor, skeletons: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Mean squared error of the detokenised latents; what the reader misses of the pitch classes (1 minus the mean
    correlation over the 12 classes); and its mean squared error in level."""
    quantized, _ = tokenizer.tokenize(latents)
    restored = detokenizer(quantized)
    read = reader(restored)
    heard, wanted = read[..., :12], skeletons[..., :12]
    heard, wanted = heard - heard.mean(-1, keepdim=True), wanted - wanted.mean(-1, keepdim=True)
    missed = 1 - nn.functional.cosine_similarity(heard, wanted, dim=-1, eps=1e-3).mean()
    return (restored - latents).pow(2).mean(), missed, (read[..., 12:] - skeletons[..., 12:]).pow(2).mean()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.flow.tokens", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--chroma", type=float, default=2.0, help="weight of the pitch classes in the loss")
    parser.add_argument("--judge-every", type=float, default=45.0, metavar="SECONDS")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--wait-clips", type=int, default=0, help="begin when the cache holds so many")
    parser.add_argument("--go-on", action="store_true", help="start from --out's tokens.pt")
    args = parser.parse_args(argv)
    prepare(args.device, args.threads)
    torch.manual_seed(1)
    mini, reader, known = make_mini(), SkeletonReader().to(args.device), set[str]()
    tokenizer, detokenizer = mini.audio_tokenizer.to(args.device), mini.audio_token_detokenizer.to(args.device)
    if args.go_on:
        state = torch.load(args.out / "tokens.pt", map_location=args.device, weights_only=True)
        tokenizer.load_state_dict(state["audio_tokenizer"])
        detokenizer.load_state_dict(state["audio_token_detokenizer"])
    straight_through(tokenizer)
    items = wait_for_shards(args.cache, known, args.wait_clips)
    judged, items = items[:32], items[32:]
    modules = (tokenizer, detokenizer, reader)
    optimizer = torch.optim.AdamW([p for m in modules for p in m.parameters()], lr=args.rate, weight_decay=0.01)
    start, step, marked = time.monotonic(), 0, 0.0
    while (spent := time.monotonic() - start) < 60 * args.minutes:
        share = spent / (60 * args.minutes)
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 100) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * share)))
        crops = (part.to(args.device) for part in draw(items, args.batch, 100, step))
        error, missed, level = losses(tokenizer, detokenizer, reader, *crops)
        loss = 0.5 * error + args.chroma * missed + level
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
        optimizer.step()
        step += 1
        if spent - marked > args.judge_every or step == 1:
            marked = spent
            items += load_shards(args.cache, known)
            with torch.no_grad():
                crops = (part.to(args.device) for part in draw(judged, 32, 200, 0))
                held = losses(tokenizer, detokenizer, reader, *crops)
            print(step, round(spent), f"train {error:.3f} {missed:.3f} {level:.3f} held",
                  *(f"{value:.3f}" for value in held), f"of {len(items)} clips", flush=True)
            save(args.out, tokenizer, detokenizer)
    save(args.out, tokenizer, detokenizer)
    return 0


def save(out: Path, tokenizer: AceStepAudioTokenizer, detokenizer: AceStepAudioTokenDetokenizer) -> None:
    out.mkdir(parents=True, exist_ok=True)
    parts = {"audio_tokenizer": tokenizer, "audio_token_detokenizer": detokenizer}
    state = {name: {key: value.cpu() for key, value in part.state_dict().items()} for name, part in parts.items()}
    write(state, out / "tokens.pt")


if __name__ == "__main__":
    raise SystemExit(main())
