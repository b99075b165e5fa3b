"""Train the autoencoder: ``python -m segue.training.autoencoder.train --out DIR --minutes 90``.

Starts from a hierarchical PCA (``start``), then both sides learn together: waveform error and log-spectral distance,
both in dB, on crops of mixes, part mixes and stems, with a little noise on the latents. Reads no files but its own
checkpoint: the corpus is composed in memory from ``--first-seed`` on, and renewed by one clip a step. Writes ``vae.pt``
(averaged weights, latents normalised), ``vae_last.pt`` (to resume) and ``autoencoder.csv``. Learning rate and noise
follow the share of the wall-clock budget that is spent; ``--steps`` makes that a number of steps, and a resumed run
then equals an uninterrupted one. ``--go-on VAE`` starts from trained weights (their latents back at deviation 1) instead, the
spectral floor where it ended; with ``--hold-encoder`` the decoder alone learns, and latents, with every transformer trained on
them, stay what they are. With ``--workers`` other processes compose the corpus first, which then stays as it is, and draw.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderOobleck

from ...scoring.reference import log_spectral_distance, si_sdr
from ..average import Average
from ..corpus import make_clip
from ..device import prepare
from ..loading import batches
from ..mini import HOP, RATE_HZ, make_vae
from ..progress import Progress, write
from .lean import decode, encode_mean, mark_silent_units
from .losses import error_db, log_spectral_db, mid_side
from .start import fold_normalisation, latent_statistics, start_autoencoder, trained_parameters

JUDGED_FIRST_SEED = 20_000_000
NORMALISING = 0.05
# Powers of ten of the spectral loss' floor: from the first to the second over this share of the budget.
FLOORS, FLOOR_SHARE = (-6.0, -9.0), 0.7


def load_clip(seed: int) -> dict[str, np.ndarray]:
    """The stems of one clip by track, each ``[2, T]`` int16 (a quarter of float64's memory, inaudible)."""
    return {name: (stem.clip(-1, 1) * 32767).astype(np.int16) for name, stem in make_clip(seed).stems.items()}


def mix_of(stems: dict[str, np.ndarray]) -> torch.Tensor:
    """The mix ``[2, T]`` float32."""
    return torch.from_numpy(np.sum(list(stems.values()), axis=0, dtype=np.float32) / 32767)


def draw_batch(clips: list[dict[str, np.ndarray]], size: int, samples: int, rng: np.random.Generator) -> torch.Tensor:
    """Random crops: 60 % mixes, 25 % single stems, 15 % partial mixes, gains −6 … 4 dB, sides swapped half the time."""
    batch = np.empty((size, 2, samples), np.float32)
    for row in batch:
        tracks = list(clips[int(rng.integers(len(clips)))].values())
        start = int(rng.integers((tracks[0].shape[-1] - samples) // 4)) * 4
        stems = np.stack([track[:, start : start + samples] for track in tracks])
        kind = rng.random()
        chosen = np.ones(len(stems), bool)
        if kind > 0.75:
            chosen[:] = False
            chosen[int(rng.integers(len(stems)))] = True
        elif kind > 0.6:
            chosen = rng.random(len(stems)) < 0.5
            chosen[int(rng.integers(len(stems)))] = True
        row[:] = stems[chosen].astype(np.float32).sum(0) / 32767
        row *= 10 ** (rng.uniform(-6, 4) / 20)
        if rng.random() < 0.5:
            row[:] = row[::-1].copy()
    return torch.from_numpy(batch)


@torch.no_grad()
def judge(vae: AutoencoderOobleck, clips: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Mean SI-SDR and LSD × 10 of mixes (mean latent, no sampling), and LSD of drum stems, in dB."""
    device = next(vae.parameters()).device

    def through(audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        audio = audio[:, : audio.shape[-1] // HOP * HOP]
        return audio, decode(vae, encode_mean(vae, audio[None].to(device)))[0].cpu()

    def distance(target: torch.Tensor, made: torch.Tensor) -> float:
        return 10 * (log_spectral_distance(target, made, RATE_HZ, level_match=False) or 0.0)

    mixes = [through(mix_of(stems)) for stems in clips]
    drums = [through(torch.from_numpy(stems["drums"] / np.float32(32767))) for stems in clips if "drums" in stems]
    return {
        "si_sdr_db": round(float(np.mean([si_sdr(*pair, RATE_HZ) for pair in mixes])), 2),
        "lsd_db": round(float(np.mean([distance(*pair) for pair in mixes])), 2),
        "drums_lsd_db": round(float(np.mean([distance(*pair) for pair in drums])), 2),
    }


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="segue.training.autoencoder.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--steps", type=int, help="budget in steps instead of minutes")
    parser.add_argument("--clips", type=int, default=600, help="clips held in memory at a time")
    parser.add_argument("--first-seed", type=int, default=10_000_000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=24, help="crop length in latent frames of 40 ms")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--noise", type=float, default=0.07, help="largest deviation of the noise on the latents")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--judge-every", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--compile", action="store_true", help="torch.compile the loss: a third faster, needs a C++ compiler")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--go-on", type=Path, metavar="VAE", help="start from these weights")
    parser.add_argument("--hold-encoder", action="store_true", help="with --go-on: the decoder alone learns, latents stay")
    parser.add_argument("--workers", type=int, default=0, help="processes that compose and draw (0: this one does)")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    if args.go_on and not args.go_on.is_file():
        parser.error(f"--go-on {args.go_on}: there is no such file; give the vae.pt of an earlier run")
    if args.hold_encoder and not args.go_on:
        parser.error("--hold-encoder holds the encoder of trained weights: say which with --go-on VAE")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    prepare(args.device, args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    seeds = [*range(args.first_seed, args.first_seed + args.clips), *range(JUDGED_FIRST_SEED, JUDGED_FIRST_SEED + 8)]
    made = list(batches(lambda index: load_clip(seeds[index]), 0, workers=args.workers, last=len(seeds)))
    clips, judged = made[: args.clips], made[args.clips :]
    mixes = torch.stack([mix_of(stems) for stems in clips[:150]])
    torch.manual_seed(0)
    vae = make_vae()
    if args.go_on:
        vae.load_state_dict(torch.load(args.go_on, map_location="cpu", weights_only=True))
        mark_silent_units(vae)
        if not args.hold_encoder:
            fold_normalisation(vae, *latent_statistics(vae, mixes[:64]))
    else:
        start_autoencoder(vae, mixes)
    Trainer(vae.to(args.device), clips, judged, args).run(mixes[:64].to(args.device))
    return 0


class Trainer:
    """State of one run: autoencoder, optimizer, average, position."""

    def __init__(self, vae: AutoencoderOobleck, clips: list[dict[str, np.ndarray]],
                 judged: list[dict[str, np.ndarray]], args: argparse.Namespace) -> None:  # fmt: skip
        self.vae, self.clips, self.judged, self.args = vae, clips, judged, args
        if args.hold_encoder:
            vae.encoder.requires_grad_(False)
        parameters = [p for p in trained_parameters(vae) if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.8, 0.99), weight_decay=0.0,
                                      fused=args.device != "cpu")  # fmt: skip
        self.batches: Iterator[torch.Tensor] | None = None
        self.deviations = torch.ones((), device=args.device)  # of the latents, which the noise is drawn in proportion to
        self.progress = Progress(parameters, optimizer, Average(parameters, 0.998), minutes=args.minutes, steps=args.steps)
        self.loss = torch.compile(autoencoder_loss) if args.compile else autoencoder_loss
        if args.resume and self.last_path.exists():
            self._restore()

    @property
    def last_path(self) -> Path:
        return self.args.out / "vae_last.pt"

    def run(self, mixes: torch.Tensor) -> None:
        """Train until the budget is spent; ``mixes`` are what the latents are normalised over in the end."""
        print("start", judge(self.vae, self.judged), flush=True)
        if self.args.hold_encoder:
            self.deviations = latent_statistics(self.vae, mixes)[1][:, None]
        progress = self.progress
        progress.begin()
        marked = progress.spent_s
        log = csv.writer((self.args.out / "autoencoder.csv").open("a", encoding="utf-8", buffering=1))
        while progress.share() < 1.0:
            distances = self.train_step()
            progress.tick()
            if not self.args.workers or progress.step % 50 == 0:
                log.writerow([progress.step, round(progress.spent_s, 1), *(round(float(value), 4) for value in distances)])
            if progress.spent_s - marked > self.args.judge_every:
                marked = progress.spent_s
                self.checkpoint(mixes)
        self.checkpoint(mixes)

    def train_step(self) -> tuple[torch.Tensor, torch.Tensor]:
        """One optimizer step; everything random follows from the step's number. Returns both distances in dB."""
        args, progress = self.args, self.progress
        step, share = progress.step, 1.0 if args.go_on else progress.share()
        progress.set_rate(args.rate, warmup=50, floor=0.02)
        if self.batches is None:
            self.batches = batches(self.draw, step, workers=args.workers, pin=args.device != "cpu")
        target = next(self.batches).to(args.device, non_blocking=True)
        generator = torch.Generator(args.device).manual_seed(step)
        shape = (args.batch, self.vae.config.decoder_input_channels, args.frames)
        level = torch.rand((args.batch, 1, 1), generator=generator, device=args.device)
        noise = args.noise * level * self.deviations * torch.randn(shape, generator=generator, device=args.device)
        floor = 10 ** (FLOORS[0] + (FLOORS[1] - FLOORS[0]) * min(1.0, share / FLOOR_SHARE))
        waveform, spectral, normal = self.loss(self.vae, target, noise, bool(step % 2), torch.tensor(floor))
        progress.descend(waveform + spectral + NORMALISING * normal, longest=300.0)
        return waveform.detach(), spectral.detach()

    def draw(self, step: int) -> torch.Tensor:
        """The crops of ``step``; without workers the corpus is renewed by one clip before."""
        args = self.args
        if not args.workers:
            self.clips[step % len(self.clips)] = load_clip(args.first_seed + args.clips + step)
        return draw_batch(self.clips, args.batch, args.frames * HOP, np.random.default_rng([step, 7]))

    def checkpoint(self, mixes: torch.Tensor) -> None:
        """Judge the averaged weights, write them with latents normalised, and what is needed to resume."""
        shipped = make_vae().to(self.args.device)
        progress = self.progress
        progress.average.swap()
        shipped.load_state_dict(self.vae.state_dict())
        progress.average.swap()
        mark_silent_units(shipped)
        if not self.args.hold_encoder:
            fold_normalisation(shipped, *latent_statistics(shipped, mixes))
        print(progress.step, round(progress.spent_s), judge(shipped, self.judged), flush=True)
        write({name: value.cpu() for name, value in shipped.state_dict().items()}, self.args.out / "vae.pt")
        progress.save(self.last_path)

    def _restore(self) -> None:
        self.progress.restore(self.last_path)
        mark_silent_units(self.vae)
        if self.args.workers:
            return  # the corpus stays as it was composed
        first, step = self.args.first_seed + self.args.clips, self.progress.step
        for earlier in range(max(0, step - len(self.clips)), step):
            self.clips[earlier % len(self.clips)] = load_clip(first + earlier)


def autoencoder_loss(
    vae: AutoencoderOobleck, target: torch.Tensor, noise: torch.Tensor, sides: bool, floor: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Waveform error and log-spectral distance in dB, and how far the latents are from mean 0 and deviation 1."""
    latents = encode_mean(vae, target)
    estimate = decode(vae, latents + noise)
    views = (mid_side(estimate), mid_side(target)) if sides else (estimate, target)
    spectral = log_spectral_db(*views, floor)
    mean, variance = latents.mean((0, 2)), latents.var((0, 2))
    normal = mean.pow(2).sum() + torch.log(variance + 1e-4).pow(2).sum()
    return error_db(estimate, target), spectral, normal


if __name__ == "__main__":
    raise SystemExit(main())
