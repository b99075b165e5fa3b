"""Train the autoencoder: ``python -m segue.training.autoencoder.train --out DIR --minutes 15``.

The encoder is computed in closed form (``closed_form``) and never changes afterwards, so latents can be cached and
transformers trained while the decoder is still learning. Reads no files but its own checkpoint: the corpus is composed
in memory from ``--first-seed`` on. Writes ``vae.pt`` (the state of the full ``AutoencoderOobleck``), ``vae_last.pt``
(to resume) and ``autoencoder.csv``. The learning rate follows the share of the wall-clock budget that is spent.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderOobleck

from ..corpus import make_clip
from ..mini import HOP, make_vae
from .closed_form import build_encoder, start_decoder
from .lean import LeanEncoder
from .losses import lsd_db, mid_side, multi_resolution, relative_l2, si_sdr_db

JUDGED_FIRST_SEED = 20_000_000


def load_clip(seed: int) -> np.ndarray:
    """The stems of one clip as ``[K, 2, T]`` int16 (a quarter of float64's memory, inaudible)."""
    stems = np.stack(list(make_clip(seed).stems.values()))
    return (stems.clip(-1, 1) * 32767).astype(np.int16)


def draw_batch(clips: list[np.ndarray], size: int, samples: int, rng: np.random.Generator) -> torch.Tensor:
    """Random crops: 60 % mixes, 25 % single stems, 15 % partial mixes, gains ±6 dB, sides swapped half the time."""
    batch = np.empty((size, 2, samples), np.float32)
    for row in batch:
        stems = clips[int(rng.integers(len(clips)))]
        start = int(rng.integers((stems.shape[-1] - samples) // 4)) * 4
        kind = rng.random()
        chosen = np.ones(len(stems), bool)
        if kind > 0.75:
            chosen[:] = False
            chosen[int(rng.integers(len(stems)))] = True
        elif kind > 0.6:
            chosen = rng.random(len(stems)) < 0.5
            chosen[int(rng.integers(len(stems)))] = True
        row[:] = stems[chosen, :, start : start + samples].astype(np.float32).sum(0) / 32767
        row *= 10 ** (rng.uniform(-6, 4) / 20)
        if rng.random() < 0.5:
            row[:] = row[::-1].copy()
    return torch.from_numpy(batch)


@torch.no_grad()
def judge(vae: AutoencoderOobleck, lean: LeanEncoder, clips: list[np.ndarray]) -> dict[str, float]:
    """Mean SI-SDR and LSD of mixes (mean latent, no sampling), and LSD of the first stem that is drums, in dB."""
    def through(samples: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        audio = torch.from_numpy(samples.astype(np.float32) / 32767)[None, :, : samples.shape[-1] // HOP * HOP]
        return vae.decode(lean(audio)).sample, audio

    pairs = [through(stems.astype(np.int32).sum(0)) for stems in clips]
    firsts = [through(stems[0].astype(np.int32)) for stems in clips]
    return {
        "si_sdr_db": round(float(np.mean([si_sdr_db(*pair) for pair in pairs])), 2),
        "lsd_db": round(float(np.mean([lsd_db(*pair) for pair in pairs])), 2),
        "first_stem_lsd_db": round(float(np.mean([lsd_db(*pair) for pair in firsts])), 2),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.autoencoder.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--clips", type=int, default=360)
    parser.add_argument("--first-seed", type=int, default=10_000_000)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--frames", type=int, default=16, help="crop length in latent frames of 40 ms")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--judge-every", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--encoder-only", action="store_true", help="write the closed-form encoder and stop")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)

    clips = [load_clip(seed) for seed in range(args.first_seed, args.first_seed + args.clips)]
    judged = [load_clip(seed) for seed in range(JUDGED_FIRST_SEED, JUDGED_FIRST_SEED + 4)]
    mixes = torch.stack([torch.from_numpy(stems.astype(np.float32).sum(0) / 32767) for stems in clips[:64]])
    torch.manual_seed(0)
    vae = make_vae()
    if not (args.resume and (args.out / "vae_last.pt").exists()):
        start_decoder(vae, build_encoder(vae, mixes))
        torch.save(vae.state_dict(), args.out / "vae.pt")
    if not args.encoder_only:
        train(vae, clips, judged, args)
    return 0


def train(vae: AutoencoderOobleck, clips: list[np.ndarray], judged: list[np.ndarray], args: argparse.Namespace) -> None:
    """The decoder's loop: wall-clock budget, cosine learning rate, checkpoints; the encoder stays as it is."""
    lean = LeanEncoder(vae)
    parameters = list(vae.decoder.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.8, 0.99), weight_decay=0.0)
    step, spent, last_path = 0, 0.0, args.out / "vae_last.pt"
    if args.resume and last_path.exists():
        state = torch.load(last_path, weights_only=True)
        vae.load_state_dict(state["vae"])
        lean = LeanEncoder(vae)
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent_s"]
    print("start", judge(vae, lean, judged), flush=True)
    budget_s, start, marked = 60 * args.minutes, time.monotonic() - spent, spent
    log = csv.writer((args.out / "autoencoder.csv").open("a", encoding="utf-8", buffering=1))

    def checkpoint() -> None:
        torch.save(vae.state_dict(), args.out / "vae.pt")
        state = {"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent_s": spent}
        torch.save(state, last_path)

    while (spent := time.monotonic() - start) < budget_s:
        share = spent / budget_s
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 30) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * share)))
        target = draw_batch(clips, args.batch, args.frames * HOP, np.random.default_rng([step, 7]))
        latents = lean(target)
        estimate = vae.decoder(latents + 0.1 * torch.rand(()) * torch.randn_like(latents))
        view = mid_side if step % 2 else (lambda samples: samples)
        spectral = multi_resolution(view(estimate), view(target), tilt=1.0)
        waveform = relative_l2(estimate, target) + (estimate - target).abs().mean() / target.abs().mean()
        loss = waveform + (0.3 + 0.3 * share) * spectral
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 3.0)
        optimizer.step()
        step += 1
        log.writerow([step, round(spent, 1), float(loss), float(waveform), float(spectral)])
        if spent - marked > args.judge_every:
            marked = spent
            print(step, round(spent), f"loss {float(loss):.3f}", judge(vae, lean, judged), flush=True)
            checkpoint()
    checkpoint()
    print("end", step, judge(vae, lean, judged), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
