"""Encode the corpus once: ``python -m segue.training.flow.cache --vae vae.pt --out DIR --clips N``.

Writes shards of clips as they become ready, so a trainer may already run on the first of them. A clip holds the
latents of its mix, and (``--full``) of every stem and of the mix without one stem; latents are ``[T, 64]`` float16.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderOobleck

from ...scoring.reference import chroma
from ..autoencoder.lean import encode_mean, mark_silent_units
from ..corpus import Clip, make_clip
from ..mini import HOP, make_vae

SHARD = 16
SKELETON_FFT = 4096
LEVEL_EDGES_HZ = (30.0, 150.0, 600.0, 3000.0, 11_000.0)


def skeleton(samples: np.ndarray, rate_hz: int, frames: int) -> np.ndarray:
    """What a cover should keep, frame by frame, ``[frames, 16]``: 12 pitch classes (square root of their power, the
    frame's strongest 1) and the level of four bands in units of 20 dB, clipped to ±2."""
    hop = HOP
    padded = np.pad(samples, ((0, 0), (SKELETON_FFT // 2 - hop // 2, SKELETON_FFT)))
    power, _ = chroma(padded, rate_hz, n_fft=SKELETON_FFT, hop=hop)
    classes = np.sqrt(power[:frames])
    classes /= classes.max(axis=1, keepdims=True) + 1e-6
    cut = samples[:, : frames * hop].reshape(len(samples), frames, hop)
    spectrum = np.square(np.abs(np.fft.rfft(cut * np.hanning(hop), axis=-1))).mean(0)
    edges = [round(hz * hop / rate_hz) for hz in LEVEL_EDGES_HZ]
    levels = [np.log10(spectrum[:, a:b].mean(1) + 1e-7) / 2 for a, b in pairwise(edges)]
    return np.concatenate([classes, np.clip(np.stack(levels, axis=1), -2, 2)], axis=1).astype(np.float32)


@torch.no_grad()
def encode_clip(clip: Clip, vae: AutoencoderOobleck, *, full: bool, half: bool = False) -> dict[str, Any]:
    """Latents and facts of one clip; ``half`` computes in bfloat16 (an error of about 1 % of the latents' deviation)."""
    tracks = list(clip.stems)
    signals = [clip.samples]
    left_out = None
    if full:
        signals += list(clip.stems.values())
        if len(tracks) > 1:
            left_out = tracks[int(np.random.default_rng([clip.seed, 3]).integers(len(tracks)))]
            signals.append(clip.samples - clip.stems[left_out])
    length = clip.samples.shape[-1] // HOP * HOP
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        stacked = encode_mean(vae, torch.from_numpy(np.stack(signals)[:, :, :length]))
    latents = [z.T.half() for z in stacked]
    item: dict[str, Any] = {"facts": clip.facts(), "mix": latents[0], "stems": {}}
    item["skeleton"] = torch.from_numpy(skeleton(clip.samples, clip.rate_hz, len(latents[0]))).half()
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
    mark_silent_units(vae)
    start = time.monotonic()
    for shard in range(args.clips // SHARD):
        path = args.out / f"{args.first_seed + shard * SHARD:09d}.pt"
        if path.exists():
            continue
        full = int((shard + 1) * args.full_share) > int(shard * args.full_share)
        first = args.first_seed + shard * SHARD
        items = [encode_clip(make_clip(seed, args.duration), vae, full=full, half=True) for seed in range(first, first + SHARD)]
        torch.save(items, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)
        print(f"{(shard + 1) * SHARD} clips, {time.monotonic() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
