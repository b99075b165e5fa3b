"""Folders of nights written by hand: groups with scores, pairs, latents and FLAC files of a tiny model's autoencoder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from segue.dataset.folder import NightFolder
from segue.dataset.keeping import keep_latent, settle_file
from segue.pipeline.audio_file import samples_sha256, write_audio
from segue.pipeline.context import Numerics
from segue.pipeline.keys import numerics_facts
from segue.pipeline.models.pool import Pool
from segue.pipeline.models.resolve import describe_model
from segue.pipeline.options import RunOptions, decide
from segue.pipeline.prompt import Prompt
from segue.pipeline.session import Counts, threads
from segue.pipeline.take import Audio, Latent, Signal, Take
from segue.scoring.preferences import Generation, Group, GroupEntry, Pair, pairs_best_worst
from segue.scoring.report import Defect, Metric, QualityReport

FRAMES = 30  # 1.2 s


def numerics() -> Numerics:
    """One thread, tiles smaller than a clip."""
    return decide(RunOptions(device="cpu", threads=1, tile_frames=12, offline=True))[1]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class NightWriter:
    """A night being written to `root`: `group` by `group`, then `end`. `audio` is the plan's policy: all or none."""

    def __init__(self, root: Path, model: str, *, audio: str = "all", created: str = "2026-11-28T22:00:00+00:00",
                 name: str = "jazz", seed: int = 7) -> None:  # fmt: skip
        self.folder, self.model, self.audio = NightFolder(root), model, audio
        self.numerics = numerics()
        self.pool = Pool(describe_model(model, offline=True), self.numerics, Counts())
        self.info = self.pool.codec_info
        self.groups: list[Group] = []
        root.mkdir(parents=True)
        plan = {"name": name, "about": "a night for a test", "seed": seed, "created": created, "model": model}
        self.folder.plan.write_text(yaml.safe_dump(plan), encoding="utf-8")
        account = {"numerics": numerics_facts(self.numerics), "hours": 1.5}
        self.folder.account.write_text(json.dumps(account), encoding="utf-8")

    def decoded(self, frames: torch.Tensor, samples: int | None = None) -> Audio:
        """What the night itself would score: frames `[T, D]` through the autoencoder."""
        with threads(self.numerics.threads):
            made = self.pool.decode(frames.unsqueeze(0), self.info.codec)[0]
        return Audio(made[:, :samples].contiguous(), self.info.rate_hz)

    def entry(
        self, job: int, index: int, seed: int, score: float, *, prompt: Prompt, revision: str = "",
        frames: torch.Tensor | None = None, defects: Sequence[str] = (), variant: str = "base", adapters: str | None = None,
        latent: bool = True,
    ) -> GroupEntry:  # fmt: skip
        """One take: latent of noise by its seed, decoded, kept by the policy, with a report of the given mark."""
        if frames is None:
            frames = torch.randn(FRAMES, self.info.latent_dim, generator=torch.Generator().manual_seed(seed))
        samples = FRAMES * self.info.hop_length - 10
        audio = self.decoded(frames, samples)
        kept = Latent(frames, self.info.frame_rate_hz, self.info.codec, samples=samples)
        take = Take("judged", index, seed, prompt, f"{seed:040x}", Signal(audio, kept, decodes=True))
        place = None
        if latent:
            keep_latent(self.folder, job, take, self.model)
            place = settle_file(self.folder, "latents", job, "judged", index, stays=True)
        flac = self.folder.places("audio", job, "judged", index)[0]
        if self.audio == "all" or not latent:
            write_audio(flac, audio, tags={"SEGUE_SEED": str(seed)})
        metrics = {"bandwidth_hz": Metric(value=400.0 + 10 * score, unit="Hz"), "true_peak_dbtp": Metric(value=-3.0, unit="dBTP")}
        report = QualityReport(
            overall=score, metrics=metrics, scorer="segue-scorer/2", duration_s=audio.duration_s, rate_hz=audio.rate_hz,
            defects=tuple(Defect(type=d, severity=0.5, start_s=0, end_s=1) for d in defects),
        )  # fmt: skip
        step = {"stage": "draft", "type": "generate", "seed": seed + 1, "variant": variant, "codec": self.info.codec,
                "t_start": 1.0, "timesteps": [1.0, 0.5], "steps": 2}  # fmt: skip
        generation = Generation(
            model=variant, steps=2, seed=seed, shift=1.0, model_id=self.model, model_revision=revision or self.info.fingerprint,
            adapters_sha256=adapters, sampler="euler", schedule="linear",
            extra={"lineage": [step, {"stage": "judged", "type": "score", "seed": seed}]},
        )  # fmt: skip
        return GroupEntry(
            take=f"{job:06d}/judged/{index}", index=index, key=take.key, seed=seed, overall=score, report=report,
            duration_s=audio.duration_s, rate_hz=audio.rate_hz, generation=generation, pcm_sha256=samples_sha256(audio),
            audio_path=self.folder.relative(flac) if flac.exists() else None,
            latent_path=self.folder.relative(place) if place is not None else None, loudness_lufs=-20.0 - score,
        )  # fmt: skip

    def group(
        self, scores: Sequence[float], *, caption: str | None = None, strata: Mapping[str, str] | None = None, seeds: int = 0,
        **made: Any,
    ) -> Group:  # fmt: skip
        """One more group, a take a score; the job's number is the group's. `seeds` is added to the takes' seeds."""
        job = len(self.groups)
        prompt = Prompt(caption=caption or f"prompt {job}", instrumental=True, bpm=90, duration_s=1.2)
        entries = tuple(
            self.entry(job, i, 1000 * job + i + seeds, score, prompt=prompt, **made)
            for i, score in enumerate(scores)
        )
        return self.add(Group(
            id=f"group{job:011d}", stage="judged", prompt=prompt.facts(), inputs={"conditioning": "c"}, run=self.folder.root.name,
            strata=dict(strata or {"genre": "jazz" if job % 2 else "rock"}), entries=entries,
        ))  # fmt: skip

    def add(self, group: Group) -> Group:
        """A group as it is."""
        self.groups.append(group)
        return group

    def end(self, pairs: Sequence[Pair] | None = None) -> Path:
        """Write the record; pairs are the best against the worst of each group unless given. Gives the folder."""
        self.pool.close()
        found = list(pairs) if pairs is not None else [p for g in self.groups for p in pairs_best_worst(g)]
        self.folder.groups.write_text("".join(g.to_json() + "\n" for g in self.groups), encoding="utf-8")
        self.folder.pairs.write_text("".join(p.to_json() + "\n" for p in found), encoding="utf-8")
        return self.folder.root
