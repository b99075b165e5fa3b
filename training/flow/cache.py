"""Encode the corpus once: ``python -m segue.training.flow.cache --vae vae.pt --out DIR --clips N``.

Writes shards of clips as they become ready, so a trainer may already run on the first of them. A clip holds the
latents of its mix, and (``--full-share``) of every stem and of the mix without each; latents are ``[T, 64]`` float16.
With ``--workers`` other processes compose the clips while this one encodes them, on ``--device``.
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
from ..device import prepare
from ..loading import batches
from ..mini import HOP, make_vae
from ..progress import write

SHARD = 16
AT_ONCE = {"cpu": 8, "cuda": 128}  # signals
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


def signals_of(clip: Clip, *, full: bool) -> dict[str, Any]:
    """What there is to encode of a clip, before it is encoded: ``samples`` ``[1 + 2·S, 2, T]`` of the mix and, when ``full``,
    of its ``S`` stems and of the mix without each (of one stem: that alone); with its facts, tracks and skeleton."""
    length = clip.samples.shape[-1] // HOP * HOP
    tracks = list(clip.stems) if full else []
    signals = [clip.samples, *(clip.stems[track] for track in tracks)]
    if len(tracks) > 1:
        signals += [clip.samples - clip.stems[track] for track in tracks]
    shape = skeleton(clip.samples, clip.rate_hz, length // HOP)
    return {"facts": clip.facts(), "tracks": tracks, "skeleton": torch.from_numpy(shape).half(),
            "samples": torch.from_numpy(np.stack(signals)[:, :, :length])}  # fmt: skip


@torch.no_grad()
def encode_signals(made: list[dict[str, Any]], vae: AutoencoderOobleck, *, half: bool = False) -> list[dict[str, Any]]:
    """Latents and facts of clips that ``signals_of`` laid out, all of one length; ``half`` computes in bfloat16 (an error of
    about 1 % of the latents' deviation)."""
    device = next(vae.parameters()).device
    samples = torch.cat([clip["samples"] for clip in made])
    encoded = []
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        for part in samples.split(AT_ONCE.get(device.type, AT_ONCE["cpu"])):
            encoded.append(encode_mean(vae, part.to(device)).transpose(1, 2).half())
    latents = list(torch.cat(encoded).cpu().split([len(clip["samples"]) for clip in made]))
    return [_item(clip, *of_clip) for clip, of_clip in zip(made, latents, strict=True)]


def _item(made: dict[str, Any], *latents: torch.Tensor) -> dict[str, Any]:
    """What the trainers read of a clip; each of the latents in memory of its own, so that a file holds no more than it says."""
    tracks, own = made["tracks"], [z.clone() for z in latents]
    stems, rests = own[1 : 1 + len(tracks)], own[1 + len(tracks) :]
    return {"facts": made["facts"], "mix": own[0], "skeleton": made["skeleton"],
            "stems": dict(zip(tracks, stems, strict=True)), "rests": dict(zip(tracks, rests, strict=False))}  # fmt: skip


def encode_clip(clip: Clip, vae: AutoencoderOobleck, *, full: bool, half: bool = False) -> dict[str, Any]:
    """One clip, laid out and encoded."""
    return encode_signals([signals_of(clip, full=full)], vae, half=half)[0]


def load_shards(folder: Path, known: set[str]) -> list[dict[str, Any]]:
    """Items of the shards that are not in ``known`` yet, in the shards' order; adds them to ``known``."""
    items: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.pt")):
        if path.name not in known:
            known.add(path.name)
            items += torch.load(path, weights_only=True)
            if "rests" not in items[-1]:
                raise ValueError(f"{path} is of an earlier version, which kept the mix without one of its stems; clips now hold "
                                 "it without each: encode them into a new folder (segue.training.flow.cache --out)")  # fmt: skip
    return items


def wait_for_shards(folder: Path, known: set[str], clips: int) -> list[dict[str, Any]]:
    """``load_shards`` when there are ``clips`` clips at least, another process encoding them."""
    while (missing := clips // SHARD - len(list(folder.glob("*.pt")))) > 0:  # as many as the cache makes of `--clips`
        print(f"waiting for {missing * SHARD} more clips in {folder}", flush=True)
        time.sleep(2)
    return load_shards(folder, known)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.flow.cache", description=__doc__)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=1200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--full-share", type=float, default=0.5, help="share of shards with stems")
    parser.add_argument("--duration", type=float, default=8.0, metavar="SECONDS")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that compose (0: this one does)")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    prepare(args.device, args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    vae = make_vae()
    vae.load_state_dict(torch.load(args.vae, map_location="cpu", weights_only=True))
    mark_silent_units(vae)
    vae.to(args.device)
    shards = []
    for number in range(args.clips // SHARD):
        first = args.first_seed + number * SHARD
        if not (args.out / f"{first:09d}.pt").exists():
            full = int((number + 1) * args.full_share) > int(number * args.full_share)
            shards.append((first, full, args.duration))
    start = time.monotonic()
    for (first, _, _), clips in zip(shards, batches(lambda step: compose_shard(*shards[step]), 0, workers=args.workers,
                                                    ahead=1, last=len(shards)), strict=True):  # fmt: skip
        write(encode_signals(clips, vae, half=True), args.out / f"{first:09d}.pt")
        print(f"{first - args.first_seed + SHARD} clips, {time.monotonic() - start:.0f} s", flush=True)
    return 0


def compose_shard(first: int, full: bool, duration_s: float) -> list[dict[str, Any]]:
    """The signals of the ``SHARD`` clips from seed ``first`` on."""
    return [signals_of(make_clip(seed, duration_s), full=full) for seed in range(first, first + SHARD)]


if __name__ == "__main__":
    raise SystemExit(main())
