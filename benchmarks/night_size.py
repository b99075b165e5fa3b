"""A simulated night of any size: its queue half done, its record full. What `night.py` measures the costs on.

Everything but the takes is real: plan, prompts, queue and folder are made by the night itself (told to stop at once), the
record's lines are one scored sound's report and lineage with other numbers in them, as long as a real take's.
"""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from segue.dataset.entries import JobResult, Scored
from segue.dataset.folder import NightFolder
from segue.dataset.night import run_night
from segue.dataset.runner import Progress
from segue.pipeline.events import CancelToken
from segue.pipeline.options import RunOptions
from segue.scoring.preferences import Generation, Group, GroupEntry
from segue.scoring.scorer import SCORER_VERSION, score

CREATED = "2026-01-01T00:00:00Z"
GENRES = ("jazz", "funk", "ambient", "folk", "house", "soul", "rock", "swing")
KEYS = ("C major", "A minor", "E minor", "F major", "D minor", "G major")
PLAN = """
name: size
seed: 1
prompts: {{file: {prompts}}}
runs:
  - {{preset: base-turbo-refine, takes: {takes}}}
strategies:
  - {{compare: seeds}}
"""


def measured(work: Callable[[], Any], rounds: int = 1) -> dict[str, Any]:
    """What `work` costs in a process of its own (a fork): the least process time of the rounds in milliseconds, and the largest
    resident set in MiB. What it gives, where it is a dict, stands beside."""
    context = get_context("fork")
    ours, theirs = context.Pipe()

    def child() -> None:
        Path("/proc/self/clear_refs").write_text("5")  # forget the parent's peak
        costs, found = [], None
        for _ in range(rounds):
            begun = time.process_time()
            found = work()
            costs.append(time.process_time() - begun)
        peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        told = found if isinstance(found, dict) else {}
        theirs.send({"ms": round(1000 * min(costs), 2), "peak_mib": round(int(peak.split()[1]) / 1024, 1), **told})

    process = context.Process(target=child)
    process.start()
    theirs.close()
    try:
        return dict(ours.recv())
    finally:
        process.join()


def open_night(plan: Path, out: Path) -> dict[str, Any]:
    """Begin the night, or go on with it, and end at once; gives the milliseconds of process time until the runner was at work,
    and of its end (pairs and account)."""
    cancel = CancelToken()
    cancel.cancel()
    begun, reached = time.process_time(), list[float]()

    def at_work(_: Progress) -> None:
        reached.append(time.process_time())

    run_night(plan, out, created=CREATED, options=RunOptions(offline=True), cancel=cancel, on_progress=at_work)
    return {"open_ms": round(1000 * (reached[0] - begun), 1), "end_ms": round(1000 * (time.process_time() - reached[0]), 1)}


def write_plan(base: Path, prompts: int, takes: int) -> Path:
    """A plan of that many prompts, each a job."""
    with (base / "prompts.jsonl").open("w", encoding="utf-8") as file:
        for number in range(prompts):
            facts = {"caption": f"tune {number}", "genre": GENRES[number % 8], "bpm": 60 + number * 7 % 120,
                     "keyscale": KEYS[number // 8 % 6], "instrumental": True, "duration_s": 4}  # fmt: skip
            file.write(json.dumps(facts) + "\n")
    plan = base / "plan.yaml"
    plan.write_text(PLAN.format(prompts=base / "prompts.jsonl", takes=takes), encoding="utf-8")
    return plan


class Simulated:
    """Jobs' results with the size and keys of real ones: one report, other numbers in every take. The same for a seed."""

    def __init__(self, takes: int, seed: int = 1) -> None:
        self.takes, self._rng = takes, random.Random(seed)
        rng = np.random.default_rng(seed)
        sound = 0.1 * rng.standard_normal((2, 4 * 24_000)) * np.hanning(4 * 24_000)
        report = score(sound, 24_000, profile="music")
        step = {"codec": "c" * 64, "model": "segue-mini",
                "instruction": "Fill the audio semantic mask based on the given conditions:",
                "guidance": {"acoustic_scale": 1.4, "interval": [0.0, 1.0], "kind": "none", "scale": 1.0, "text_scale": 1.2},
                "schedule": "turbo", "seed": 1, "shift": 3.0, "solver": "euler", "stage": "draft", "steps": 8, "t_start": 1.0,
                "timesteps": [i / 8 for i in range(8, 0, -1)], "training": "preliminary", "type": "generate", "variant": "turbo",
                "weights": "e" * 64}  # fmt: skip
        made = Generation(
            model="turbo", steps=8, seed=1, shift=3.0, model_id="segue-mini", model_revision="e" * 64, sampler="euler",
            schedule="turbo", guidance=step["guidance"],
            extra={"lineage": [step, {**step, "stage": "polish", "type": "refine"}], "pipeline": "p" * 16, "preset": "size"},
        )  # fmt: skip
        entry = GroupEntry(take="", index=0, key="k" * 40, seed=1, overall=5.0, report=report, duration_s=4.0, rate_hz=24_000,
                           generation=made, pcm_sha256="", loudness_lufs=-20.0)  # fmt: skip
        self._entry: dict[str, Any] = entry.model_dump(mode="json")

    def entry(self, job: int, index: int) -> dict[str, Any]:
        """One take as plain data; the mapping is used again for the next."""
        draw, e = self._rng, self._entry
        seed, mark = draw.getrandbits(62), round(min(10.0, max(0.0, draw.gauss(5, 1.5))), 2)
        e["take"], e["index"], e["seed"], e["overall"] = f"{job:06d}/scored/{index}", index, seed, mark
        e["generation"]["seed"] = e["generation"]["extra"]["lineage"][0]["seed"] = seed
        e["pcm_sha256"] = f"{draw.getrandbits(256):064x}"
        e["audio_path"] = f"audio/{job // 1000:03d}/{job:06d}-scored-{index:02d}.flac"
        e["latent_path"] = f"latents/{job // 1000:03d}/{job:06d}-scored-{index:02d}.safetensors"
        e["loudness_lufs"] = round(draw.gauss(-20, 3), 6)
        e["report"]["overall"] = mark
        e["report"]["metrics"]["integrated_lufs"]["value"] = e["loudness_lufs"]
        e["report"]["metrics"]["bandwidth_hz"]["value"] = round(draw.uniform(6000, 12000), 3)
        return e

    def head(self, job: int) -> dict[str, Any]:
        """What stands in a group before its takes."""
        prompt = {"caption": f"tune {job}", "instrumental": True, "bpm": 60 + job * 7 % 120, "keyscale": KEYS[job // 8 % 6],
                  "duration_s": 4.0}  # fmt: skip
        strata = {"genre": GENRES[job % 8], "bpm": str(prompt["bpm"]), "keyscale": KEYS[job // 8 % 6]}
        return {"id": f"{job:016x}", "stage": "scored", "prompt": prompt, "inputs": {"conditioning": "c" * 40},
                "labeller": f"segue-{SCORER_VERSION}/music", "run": "n" * 16, "strata": strata}  # fmt: skip

    def lines(self, groups: int) -> Iterator[bytes]:
        """The record, line by line."""
        for job in range(groups):
            head = json.dumps(self.head(job), separators=(",", ":"))[:-1]
            entries = ",".join(json.dumps(self.entry(job, i), separators=(",", ":")) for i in range(self.takes))
            yield f'{head},"entries":[{entries}]}}\n'.encode()

    def result(self, job: int) -> JobResult:
        """What a job gives the queue."""
        head = self.head(job)
        scored = tuple(
            Scored(chance=head["id"], prompt=head["prompt"], inputs=head["inputs"],
                   entry=GroupEntry.model_validate_json(json.dumps(self.entry(job, i))))
            for i in range(self.takes)
        )  # fmt: skip
        return JobResult(scored=scored, keys=tuple(f"{job:038x}{i:02x}" for i in range(self.takes)))


def fill_record(folder: NightFolder, simulated: Simulated, groups: int) -> int:
    """Write a record of that many groups and settle as many prompts; gives its bytes."""
    ends, size = [], 0
    with folder.groups.open("wb") as file:
        for line in simulated.lines(groups):
            file.write(line)
            size += len(line)
            ends.append(size)
    with folder.groups.open("rb") as file:
        Group.from_json(file.readline())  # raises, where the simulation is no record
    settle(folder, ends, simulated.takes)
    return size


def settle_blank(folder: NightFolder, groups: int, takes: int) -> None:
    """Settle that many prompts with groups that have no take in the record, for what reads no line of it."""
    lines = [Group(id=f"{number:016x}", stage="scored").to_json().encode() + b"\n" for number in range(groups)]
    folder.groups.write_bytes(b"".join(lines))
    settle(folder, list(itertools.accumulate(map(len, lines))), takes)


def settle(folder: NightFolder, ends: list[int], takes: int) -> None:
    """Note the first prompts as done and settled; `ends` is where each one's line ends in the record."""
    db = sqlite3.connect(folder.database)
    with db:
        db.execute("UPDATE jobs SET state = 'done', takes = ?, seconds = 3 WHERE number < ?", (takes, len(ends)))
        db.executemany("INSERT INTO blocks VALUES (?, ?, 1, ?, 1)", ((b, end, takes) for b, end in enumerate(ends)))
    db.close()
