"""Measure the miniature: ``python -m segue.training.evaluate --checkpoint DIR --cache DIR --out evaluation.json``.

On composer seeds that training never saw, each number with its chance level or ceiling beside it. ``--checkpoint``
is the trainer's folder (vae.pt, tokens.pt, base.pt, turbo.pt …); ``--cache`` serves only to fit the track listener.
Sampling is plain Euler with classifier-free guidance, 8 s clips. Seeds: 50,000,000 onwards.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .autoencoder.lean import LeanEncoder
from .autoencoder.losses import lsd_db, si_sdr_db
from .build_mini import load_checkpoints
from .corpus import make_clip
from .flow.cache import encode_clip, load_shards
from .flow.network import FlowNetwork
from .flow.prompts import draw_prompt, instruction_for
from .flow.sampling import sample
from .flow.tasks import Batch
from .listening import TrackListener, agreement, heard_bpm, heard_chroma, heard_key, same_tempo
from .mini import HOP, RATE_HZ, Mini, make_mini, set_silence_latent

FIRST_SEED = 50_000_000
GUIDANCE = 3.0


class Bench:
    """The parts, the unseen clips and their latents."""

    def __init__(self, mini: Mini, clips: int) -> None:
        self.mini = mini
        self.encoder = LeanEncoder(mini.vae)
        self.clips = [make_clip(FIRST_SEED + index) for index in range(clips)]
        self.items = [encode_clip(clip, self.encoder, full=True) for clip in self.clips]
        self.networks = {name: FlowNetwork(mini, name).eval() for name in mini.transformer}

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """``[T, 64]`` to samples ``[2, T · 960]``."""
        return self.mini.vae.decode(latents.float().T[None]).sample[0]

    def silence(self) -> torch.Tensor:
        return self.mini.condition_encoder.silence_latent[0, 0]

    def batch(self, task: str, indices: list[int], sources: list[torch.Tensor], tracks: list[list[str]]) -> Batch:
        """A batch with full prompts; ``sources`` are ``[T, 64]``."""
        rng = np.random.default_rng(9)
        frames = len(sources[0])
        prompts = [
            draw_prompt(self.items[i]["facts"], instruction_for(task, names), frames / 25, rng, full=True)
            for i, names in zip(indices, tracks, strict=True)
        ]
        source = torch.stack([s.float() for s in sources])
        size = len(indices)
        return Batch(source, source.clone(), torch.ones(size, frames), torch.full((size,), task == "cover"),
                     source[:, :100], torch.zeros(size, dtype=torch.bool), prompts, [task] * size)  # fmt: skip


def judge_autoencoder(bench: Bench) -> dict[str, float]:
    """Mean latent, no sampling; LSD as in FACTS × 10 (n_fft 2048, hop 512)."""
    mixes: list[tuple[float, float]] = []
    drums: list[tuple[float, float]] = []
    for clip, item in zip(bench.clips, bench.items, strict=True):
        for name, samples, latents in [("mix", clip.samples, item["mix"]), *(
            (track, clip.stems[track], item["stems"][track]) for track in clip.stems if track == "drums")]:
            target = torch.from_numpy(samples[None, :, : len(latents) * HOP])
            pair = (bench.decode(latents)[None], target)
            (mixes if name == "mix" else drums).append((float(si_sdr_db(*pair)), float(lsd_db(*pair))))
    mix, drum = np.mean(mixes, axis=0), np.mean(drums, axis=0)
    return {"mix_si_sdr_db": mix[0], "mix_lsd_db": mix[1], "drums_si_sdr_db": drum[0], "drums_lsd_db": drum[1]}


def hear_all(bench: Bench, latents: list[torch.Tensor], listener: TrackListener, used: torch.Tensor) -> dict[str, float]:
    """Share of clips whose tempo, key and tracks are as their prompt says; ``shuffled``: judged by the next prompt."""
    facts = [item["facts"] for item in bench.items]
    audio = [bench.decode(z).mean(0).numpy() for z in latents]
    tempos = [heard_bpm(x, RATE_HZ) for x in audio]
    keys = [heard_key(x, RATE_HZ) for x in audio]
    tracks = [listener.hear(z) for z in latents]
    scores: dict[str, float] = {}
    for name, shift in (("", 0), ("shuffled_", 1)):
        wanted = facts[shift:] + facts[:shift]
        scores[f"{name}bpm"] = float(np.mean([same_tempo(t, f["bpm"]) for t, f in zip(tempos, wanted, strict=True)]))
        scores[f"{name}key"] = float(np.mean([k == f["keyscale"] for k, f in zip(keys, wanted, strict=True)]))
        agreed = [agreement(t, listener.present(f["instruments"]), used) for t, f in zip(tracks, wanted, strict=True)]
        scores[f"{name}tracks"] = float(np.mean(agreed))
    return scores


def judge_captions(bench: Bench, listener: TrackListener, used: torch.Tensor) -> dict[str, Any]:
    """text2music by base and sft (20 steps, guided) and turbo (8 steps), beside the reconstructions of real clips."""
    indices = list(range(len(bench.items)))
    quiet = [bench.silence().expand(200, -1)] * len(indices)
    batch = bench.batch("text2music", indices, quiet, [[] for _ in indices])
    results: dict[str, Any] = {"ceiling": hear_all(bench, [item["mix"] for item in bench.items], listener, used)}
    settings = {
        "base": {"steps": 20, "guidance": GUIDANCE}, "sft": {"steps": 20, "guidance": GUIDANCE},
        "turbo": {"steps": 8, "shift": 3.0}, "base_8_steps_unguided": {"steps": 8, "shift": 3.0},
    }  # fmt: skip
    for name, options in settings.items():
        began = time.process_time()
        latents = sample(bench.networks[name.split("_")[0]], batch, **options)
        results[name] = hear_all(bench, list(latents), listener, used)
        results[name]["cpu_s_per_clip"] = (time.process_time() - began) / len(indices)
        results[name]["latent_std"] = float(latents.std())
    return results


def judge_extract(bench: Bench, guidance: float = 1.0) -> dict[str, float]:
    """Every stem of the clips, 20 steps: SI-SDR gain over the mix, and how often its LSD is below the mix's."""
    pairs = [(i, track) for i, item in enumerate(bench.items) for track in item["stems"] if len(item["stems"]) > 1]
    gains, wins, reference = [], [], []
    for at in range(0, len(pairs), 16):
        part = pairs[at : at + 16]
        batch = bench.batch("extract", [i for i, _ in part], [bench.items[i]["mix"] for i, _ in part],
                            [[track] for _, track in part])
        latents = sample(bench.networks["base"], batch, steps=20, guidance=guidance)
        for (i, track), z in zip(part, latents, strict=True):
            stem = torch.from_numpy(bench.clips[i].stems[track][None, :, : len(z) * HOP])
            mix = torch.from_numpy(bench.clips[i].samples[None, :, : len(z) * HOP])
            got = bench.decode(z)[None]
            gains.append(float(si_sdr_db(got, stem) - si_sdr_db(mix, stem)))
            reference.append(float(si_sdr_db(bench.decode(bench.items[i]["stems"][track])[None], stem)
                                   - si_sdr_db(mix, stem)))
            wins.append(float(lsd_db(got, stem)) < float(lsd_db(mix, stem)))
    return {"si_sdr_gain_db": float(np.mean(gains)), "median_gain_db": float(np.median(gains)),
            "ceiling_gain_db": float(np.mean(reference)), "lsd_below_mix": float(np.mean(wins)), "stems": len(pairs)}


def judge_repaint(bench: Bench) -> dict[str, dict[str, float]]:
    """Window 3–5 s of 8: the kept region against the reconstruction, and the window's latent distance for scale."""
    indices = list(range(len(bench.items)))
    batch = bench.batch("repaint", indices, [item["mix"] for item in bench.items], [[] for _ in indices])
    batch.source[:, 75:125] = bench.silence()
    batch.mask[:] = 0.0
    batch.mask[:, 75:125] = 1.0
    results = {}
    for name, options in (("base", {"steps": 20}), ("turbo", {"steps": 8, "shift": 3.0})):
        latents = sample(bench.networks[name], batch, **options)
        error = (latents - batch.target).pow(2).mean(-1)
        kept = torch.cat([error[:, :73], error[:, 127:]], dim=1)
        sdr = []
        for z, item in zip(latents, bench.items, strict=True):
            ours, theirs = bench.decode(z), bench.decode(item["mix"])
            sdr.append(float(si_sdr_db(ours[None, :, : 70 * HOP], theirs[None, :, : 70 * HOP])))
        results[name] = {"kept_si_sdr_db": float(np.mean(sdr)), "kept_latent_mse": float(kept.mean()),
                         "window_latent_mse": float(error[:, 75:125].mean())}
    return results


def judge_cover(bench: Bench) -> dict[str, dict[str, float]]:
    """Chroma similarity (correlation of frame-wise pitch classes' means) to the source, and to another clip's source."""
    indices = list(range(len(bench.items)))
    batch = bench.batch("cover", indices, [item["mix"] for item in bench.items], [[] for _ in indices])
    results = {}
    for name, options in (("base", {"steps": 20}), ("turbo", {"steps": 8, "shift": 3.0})):
        latents = sample(bench.networks[name], batch, **options)
        ours = [heard_chroma(bench.decode(z).mean(0).numpy(), RATE_HZ) for z in latents]
        theirs = [heard_chroma(clip.samples.mean(0), RATE_HZ) for clip in bench.clips]
        same = [np.corrcoef(a, b)[0, 1] for a, b in zip(ours, theirs, strict=True)]
        other = [np.corrcoef(a, b)[0, 1] for a, b in zip(ours, theirs[1:] + theirs[:1], strict=True)]
        results[name] = {"chroma_similarity": float(np.mean(same)), "chroma_similarity_other_clip": float(np.mean(other))}
    return results


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(float(value), 4) if isinstance(value, (float, np.floating)) else value


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.evaluate", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="latents of training clips, to fit the track listener")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--only", nargs="*", choices=("autoencoder", "captions", "extract", "repaint", "cover"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    mini = make_mini()
    found = load_checkpoints(mini, args.checkpoint)
    set_silence_latent(mini)
    bench = Bench(mini, args.clips)
    chosen = args.only or ["autoencoder", "captions", "extract", "repaint", "cover"]
    report: dict[str, Any] = {"found": found, "clips": args.clips, "first_seed": FIRST_SEED}
    if args.out.exists():
        report = json.loads(args.out.read_text(encoding="utf-8")) | report
    judges = {"autoencoder": judge_autoencoder, "extract": judge_extract, "repaint": judge_repaint, "cover": judge_cover}
    for name in chosen:
        if name == "captions":
            items = load_shards(args.cache, set())
            used = torch.stack([TrackListener.present(i["facts"]["instruments"]) for i in items]).amax(0)
            report[name] = rounded(judge_captions(bench, TrackListener(items), used))
        else:
            report[name] = rounded(judges[name](bench))
        print(name, json.dumps(report[name]), flush=True)
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
