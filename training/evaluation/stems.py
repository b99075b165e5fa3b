"""Stems: does an extract come closer to the stem than the mix is; do lego and complete play what was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ...pipeline.spec import Guidance
from ...scoring.reference import log_spectral_distance, si_sdr
from ...stages import Complete, Extract, Lego
from .bench import Bench, audio_of, mean
from .listeners import present

UNGUIDED = Guidance(kind="none")
# A mix nearly says what its stem is: one step gives the mean of what it may be, many draw one of these, which lies farther off.
# `judge_extract` with 1, 3, 8, 20 steps on eight choosing clips (29 stems): SI-SDR 0.4, −0.2, −0.9, −1.2 dB over the mix's in the
# mean, 2.9, 1.3, 0.5, 0.2 in the median; LSD below the mix's on 0.52, 0.55, 0.59, 0.59 of the stems.
EXTRACT_STEPS = 3


def judge_extract(bench: Bench, steps: int = EXTRACT_STEPS) -> dict[str, float]:
    """Every stem of every clip, unguided: SI-SDR gain over the mix, how often LSD is below the mix's; the ceiling is the
    stem's own reconstruction."""
    gains, ceilings, wins, distances = [], [], [], []
    jobs = [(k, track) for k, clip in enumerate(bench.clips) for track in clip.stems if len(clip.stems) > 1]
    run = bench.run({
        f"x{k}_{track}": Extract(source=f"clip{k}", track=track, variant="base", steps=steps, guidance=UNGUIDED,
                                 prompt=bench.prompt(k), seed=k)
        for k, track in jobs
    })  # fmt: skip
    for k, track in jobs:
        stem, mix = torch.from_numpy(bench.clips[k].stems[track]), bench.samples(k)
        made = audio_of(run, f"x{k}_{track}")
        before = si_sdr(stem, mix, bench.rate_hz) or 0.0
        gains.append((si_sdr(stem, made, bench.rate_hz) or -60.0) - before)
        ceilings.append((si_sdr(stem, bench.through(stem), bench.rate_hz) or -60.0) - before)
        theirs, ours = (log_spectral_distance(stem, x, bench.rate_hz) or 0.0 for x in (mix, made))
        wins.append(ours < theirs)
        distances.append((10 * theirs, 10 * ours))
    return {
        "si_sdr_gain_db": mean(gains), "si_sdr_gain_median_db": float(np.median(gains)),
        "ceiling_gain_db": mean(ceilings), "lsd_below_mix": mean(wins),
        "mix_lsd_db": mean([d[0] for d in distances]), "lsd_db": mean([d[1] for d in distances]), "stems": len(jobs),
    }  # fmt: skip


def judge_added(bench: Bench, steps: int = 50) -> dict[str, Any]:
    """lego: one stem is left out of a clip and asked for again, heard in source + stem. complete: from one stem, all the
    others are asked for, heard in the output. ``absent``: how often the same tracks are heard where they were left out."""
    lego, complete = _asked(bench, left_out=True), _asked(bench, left_out=False)
    stages: dict[str, Any] = {}
    for name, jobs, make in (("lego", lego, _lego), ("complete", complete, _complete)):
        for k, (kept, asked) in jobs.items():
            bench.add_input(f"{name}{k}", bench.part(k, kept))
            stages[f"{name}_made{k}"] = make(bench, k, f"{name}{k}", asked, steps)
    run = bench.run(stages)
    result: dict[str, Any] = {}
    for name, jobs in (("lego", lego), ("complete", complete)):
        there: list[float] = []
        before: list[float] = []
        real: list[float] = []
        for k, (kept, asked) in jobs.items():
            wanted = present(asked) > 0
            sounds = (audio_of(run, f"{name}_made{k}"), bench.part(k, kept), bench.samples(k))
            for found, sound in zip((there, before, real), sounds, strict=True):
                heard = bench.listeners.tracks(bench.hear([sound])[0])
                found += [float(x) for x in heard[wanted]]
        result[name] = {"present": mean(there), "absent": mean(before), "real": mean(real), "asked": len(there)}
    return result


def _asked(bench: Bench, *, left_out: bool) -> dict[int, tuple[list[str], list[str]]]:
    """Clip -> (tracks kept, tracks asked for). One track stands alone, another from clip to clip: it is left out and asked
    for (lego), or it is what is kept (complete)."""
    jobs = {}
    for k, clip in enumerate(bench.clips):
        tracks = list(clip.stems)
        if len(tracks) > 1:
            one = tracks[(k + (not left_out)) % len(tracks)]
            rest = [t for t in tracks if t != one]
            jobs[k] = (rest, [one]) if left_out else ([one], rest)
    return jobs


def _lego(bench: Bench, k: int, source: str, asked: list[str], steps: int) -> Lego:
    return Lego(source=source, track=asked[0], keep_source=True, variant="base", steps=steps, prompt=bench.prompt(k), seed=k)


def _complete(bench: Bench, k: int, source: str, asked: list[str], steps: int) -> Complete:
    return Complete(source=source, tracks=tuple(asked), variant="base", steps=steps, prompt=bench.prompt(k), seed=k)
