"""Encode the corpus once: ``python -m segue.training.flow.cache --vae vae.pt --out DIR --clips N``.

Writes shards of clips as they become ready, so a trainer may already run on the first of them. A clip holds the
latents of its mix, and (``--full``) of every stem and of the mix without one stem; latents are ``[T, 64]`` float16.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..autoencoder.lean import LeanEncoder
from ..corpus import Clip, make_clip
from ..mini import FRAME_RATE_HZ, HOP, make_vae

SHARD = 16


def pitch_classes(clip: Clip, frames: int) -> np.ndarray:
    """Which pitch classes sound in each latent frame, ``[frames, 12]`` in 0 … 1, from the notes themselves."""
    active = np.zeros((frames, 12), np.float32)
    for notes in clip.song.notes.values():
        for note in notes:
            start = int(note.start_s * FRAME_RATE_HZ)
            end = max(start + 1, int((note.start_s + note.duration_s) * FRAME_RATE_HZ))
            active[start:end, note.pitch % 12] = 1.0
    return active


@torch.no_grad()
def encode_clip(clip: Clip, encoder: LeanEncoder, *, full: bool) -> dict[str, Any]:
    """Latents and facts of one clip."""
    tracks = list(clip.stems)
    signals = [clip.samples]
    left_out = None
    if full:
        signals += list(clip.stems.values())
        if len(tracks) > 1:
            left_out = tracks[int(np.random.default_rng([clip.seed, 3]).integers(len(tracks)))]
            signals.append(clip.samples - clip.stems[left_out])
    length = clip.samples.shape[-1] // HOP * HOP
    latents = [encoder(torch.from_numpy(x[None, :, :length]))[0].T.half() for x in signals]
    item: dict[str, Any] = {"facts": clip.facts(), "mix": latents[0], "stems": {}}
    item["pitch_classes"] = torch.from_numpy(pitch_classes(clip, len(latents[0]))).half()
    if full:
        item["stems"] = dict(zip(tracks, latents[1 : 1 + len(tracks)], strict=True))
    if left_out:
        item["left_out"], item["rest"] = left_out, latents[-1]
    return item


def load_shards(folder: Path, known: set[str]) -> list[dict[str, Any]]:
    """Items of the shards that are not in ``known`` yet, in the shards' order; adds them to ``known``."""
    items: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.pt")):
        if path.name not in known:
            known.add(path.name)
            items += torch.load(path, weights_only=True)
    return items


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.flow.cache", description=__doc__)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=1200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--full-share", type=float, default=0.5, help="share of shards with stems")
    parser.add_argument("--duration", type=float, default=8.0, metavar="SECONDS")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    vae = make_vae()
    vae.load_state_dict(torch.load(args.vae, weights_only=True))
    encoder = LeanEncoder(vae).eval()
    start = time.monotonic()
    for shard in range(args.clips // SHARD):
        path = args.out / f"{args.first_seed + shard * SHARD:09d}.pt"
        if path.exists():
            continue
        full = int((shard + 1) * args.full_share) > int(shard * args.full_share)
        first = args.first_seed + shard * SHARD
        items = [encode_clip(make_clip(seed, args.duration), encoder, full=full) for seed in range(first, first + SHARD)]
        torch.save(items, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
        print(f"{(shard + 1) * SHARD} clips, {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
