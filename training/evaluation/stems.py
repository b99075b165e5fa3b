"""Stems: does an extract come closer to the stem than the mix is; do lego and complete play what was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...pipeline.spec import Guidance, Stage
from ...scoring.reference import log_spectral_distance, si_sdr
from ...stages import Complete, Extract, Lego, Wiener
from .bench import Bench, audio_of, mean
from .listeners import present

# A mix nearly says what its stem is: one step gives the mean of what it may be, many draw one of these, which lies farther off.
# Set on choosing clips, by trial; `evaluate --choosing --only extract` judges another setting there.
EXTRACT_STEPS, EXTRACT_GUIDANCE = 3, Guidance(kind="cfg", scale=2.0)
# Which track is asked for is all that the text of a lego decides, so it is weighed more than elsewhere: set on choosing clips,
# by trial (24 clips); `evaluate --choosing --only added` judges another setting there. Late in the way it only makes them louder.
LEGO_GUIDANCE = Guidance(kind="apg", scale=24.0, interval=(0.25, 1.0))


def extracts(bench: Bench, k: int, steps: int = EXTRACT_STEPS) -> dict[str, Stage]:
    """Stages for every track of clip ``k``: ``x<k>_<track>`` and, cut out of the mix, ``alone_…`` and ``together_…``."""
    stages: dict[str, Stage] = {}
    everything = tuple(f"x{k}_{track}" for track in bench.clips[k].stems)
    for track, name in zip(bench.clips[k].stems, everything, strict=True):
        stages[name] = Extract(source=f"clip{k}", track=track, variant="base", steps=steps, guidance=EXTRACT_GUIDANCE,
                               prompt=bench.prompt(k), seed=k)  # fmt: skip
        stages[f"alone_{name}"] = Wiener(source=f"clip{k}", estimates=(name,))
        stages[f"together_{name}"] = Wiener(source=f"clip{k}", estimates=everything, keep=name, exhaustive=True)
    return stages


def judge_extract(bench: Bench, steps: int = EXTRACT_STEPS) -> dict[str, Any]:
    """Every stem of every clip: SI-SDR gain over the mix, how often LSD is below the mix's; the ceiling is the stem's own
    reconstruction. Three ways: ``made``, as the model sings it; ``alone``, cut out of the mix by that one
    (`wiener`); ``together``, cut out of it by those of all its tracks, which the caption names."""
    jobs = [(k, track) for k, clip in enumerate(bench.clips) for track in clip.stems if len(clip.stems) > 1]
    stages: dict[str, Stage] = {}
    for k in {k for k, _ in jobs}:
        stages |= extracts(bench, k, steps)
    run = bench.run(stages)
    ways = {"made": "", "alone": "alone_", "together": "together_"}
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in (*ways, "mix", "ceiling")}
    for k, track in jobs:
        stem, mix = torch.from_numpy(bench.clips[k].stems[track]), bench.samples(k)
        sounds = {way: audio_of(run, f"{prefix}x{k}_{track}") for way, prefix in ways.items()}
        for way, sound in {**sounds, "mix": mix, "ceiling": bench.through(stem)}.items():
            near = si_sdr(stem, sound, bench.rate_hz)
            found[way].append((-60.0 if near is None else near, 10 * (log_spectral_distance(stem, sound, bench.rate_hz) or 0.0)))
    before = found.pop("mix")
    result: dict[str, Any] = {"stems": len(jobs), "mix_lsd_db": mean([lsd for _, lsd in before])}
    for way, figures in found.items():
        gains = [near - near_mix for (near, _), (near_mix, _) in zip(figures, before, strict=True)]
        result[way] = {
            "si_sdr_gain_db": mean(gains), "si_sdr_gain_median_db": float(np.median(gains)),
            "lsd_below_mix": mean([lsd < lsd_mix for (_, lsd), (_, lsd_mix) in zip(figures, before, strict=True)]),
            "lsd_db": mean([lsd for _, lsd in figures]),
        }  # fmt: skip
    return result


def judge_added(bench: Bench, steps: int = 50) -> dict[str, Any]:
    """lego: every stem of every clip is left out in turn and asked for again, heard in source + stem. complete: from one
    stem, all the others are asked for, heard in the output. ``absent``: how often the same tracks are heard where they were
    left out; ``real``: in the clip itself."""
    clips = [(k, list(clip.stems)) for k, clip in enumerate(bench.clips) if len(clip.stems) > 1]
    jobs = {
        "lego": [(k, [t for t in tracks if t != one], [one]) for k, tracks in clips for one in tracks],
        "complete": [(k, [tracks[(k + 1) % len(tracks)]], [t for i, t in enumerate(tracks) if i != (k + 1) % len(tracks)])
                     for k, tracks in clips],
    }  # fmt: skip
    stages: dict[str, Any] = {}
    for name, make in (("lego", _lego), ("complete", _complete)):
        for number, (k, kept, asked) in enumerate(jobs[name]):
            bench.add_input(f"{name}{number}", bench.part(k, kept))
            stages[f"{name}_made{number}"] = make(bench, k, f"{name}{number}", asked, steps)
    run = bench.run(stages)
    result: dict[str, Any] = {}
    for name, asked_for in jobs.items():
        found: dict[str, list[float]] = {"present": [], "absent": [], "real": []}
        for number, (k, kept, asked) in enumerate(asked_for):
            wanted = present(asked) > 0
            sounds = (audio_of(run, f"{name}_made{number}"), bench.part(k, kept), bench.samples(k))
            for heard, sound in zip(found.values(), sounds, strict=True):
                heard += [float(x) for x in bench.listeners.tracks(bench.hear([sound])[0])[wanted]]
        result[name] = {**{what: mean(heard) for what, heard in found.items()}, "asked": len(found["present"])}
    return result


def _lego(bench: Bench, k: int, source: str, asked: list[str], steps: int) -> Lego:
    return Lego(source=source, track=asked[0], keep_source=True, variant="base", steps=steps, prompt=bench.prompt(k),
                guidance=LEGO_GUIDANCE, seed=k)  # fmt: skip


def _complete(bench: Bench, k: int, source: str, asked: list[str], steps: int) -> Complete:
    return Complete(source=source, tracks=tuple(asked), variant="base", steps=steps, prompt=bench.prompt(k), seed=k)
