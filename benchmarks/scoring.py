"""How fast scoring is on one core, beside a script of librosa, pyloudnorm and a resampled true peak over the same sound.

    python benchmarks/scoring.py [--seconds 30] [--rounds 5] [--out FILE]

48 kHz stereo, composed music: as it was rendered, and driven loud (where more places can hold a true peak). `same` is the
script's quantities, theirs and ours in alternating rounds; `score` is the whole report with every detector, `batch` the same of
several takes, `stream` the file in sections. `x_realtime` is seconds of sound by seconds of the processor (all threads
counted), median of the rounds; `wall_x_realtime` by the clock on the wall, which on a busy machine is less; `ratio` the
script's seconds of the processor by ours (the whole report's do far more), which another machine changes least.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pyloudnorm
import soundfile
import soxr
import torch
from peer import arguments, report
from segue.scoring import levels, score, score_batch, spectrum
from segue.scoring.analysis import Analysis
from segue.scoring.streaming import score_file
from segue.training.corpus import make_clip

RATE = 48_000


def material(seconds: float, seed: int) -> dict[str, np.ndarray]:
    """Two sounds `[2, T]`: one as it was rendered, one driven into a soft limiter."""
    clip = make_clip(seed, seconds)
    x = soxr.resample(clip.samples.T, clip.rate_hz, RATE).T.astype(np.float32)
    return {"rendered": np.ascontiguousarray(x), "loud": np.ascontiguousarray(0.9 * np.tanh(6 * x / np.abs(x).max()))}


def theirs(x: np.ndarray) -> dict[str, float]:
    """librosa's features on one transform, pyloudnorm's integrated loudness, the peak of a sound resampled to four times."""
    magnitude = np.abs(librosa.stft(x, n_fft=2048, hop_length=512))
    mean_square = float(np.mean(np.square(x, dtype=np.float64)))
    return {
        "centroid_hz": float(np.mean(librosa.feature.spectral_centroid(S=magnitude, sr=RATE))),
        "rolloff_hz": float(np.mean(librosa.feature.spectral_rolloff(S=magnitude, sr=RATE, roll_percent=0.985))),
        "flatness": float(np.mean(librosa.feature.spectral_flatness(S=magnitude))),
        "integrated_lufs": pyloudnorm.Meter(RATE).integrated_loudness(x.T.astype(np.float64)),
        "true_peak_dbtp": 20 * np.log10(np.abs(soxr.resample(x.T, RATE, 4 * RATE)).max()),
        "crest_db": 20 * np.log10(np.abs(x).max() / np.sqrt(mean_square)),
    }


def ours(x: np.ndarray) -> dict[str, float | None]:
    """The same, by the functions the report is made of (momentary, short-term and range come along)."""
    a = Analysis(x, RATE)
    loud = a.loudness
    return {
        "centroid_hz": spectrum.centroid_hz(x, RATE, spectra=a.spectra),
        "rolloff_hz": spectrum.rolloff_hz(x, RATE, spectra=a.spectra),
        "flatness": spectrum.flatness(x, RATE, spectra=a.spectra),
        "integrated_lufs": loud.integrated if loud else None,
        "true_peak_dbtp": 20 * float(np.log10(levels.true_peak(x, RATE))),
        "crest_db": levels.crest_db(x, RATE),
    }


def spent(*calls: Callable[[], Any], rounds: int) -> list[tuple[list[float], list[float]]]:
    """Processor and wall seconds of each call, one after another, round by round, after a warm-up each."""
    found: list[tuple[list[float], list[float]]] = [([], []) for _ in calls]
    for call in calls:
        call()
    for _ in range(rounds):
        for call, (processor, wall) in zip(calls, found, strict=True):
            begun, clock = time.process_time(), time.perf_counter()
            call()
            processor.append(time.process_time() - begun)
            wall.append(time.perf_counter() - clock)
    return found


def speed(seconds: float, times: tuple[list[float], list[float]]) -> dict[str, float]:
    processor, wall = (statistics.median(t) for t in times)
    return {"x_realtime": round(seconds / processor, 1), "wall_x_realtime": round(seconds / wall, 1)}


def same_quantities(x: np.ndarray, rounds: int) -> dict[str, Any]:
    """Both scripts in turn, and each of our parts alone."""
    seconds = x.shape[1] / RATE
    a = Analysis(x, RATE)
    peer, here, loud, peak, transform = spent(
        lambda: theirs(x),
        lambda: ours(x),
        lambda: Analysis(x, RATE).loudness,
        lambda: levels.true_peak(x, RATE),
        lambda: Analysis(x, RATE).spectra,
        rounds=rounds,
    )
    ratios = [p / h for p, h in zip(peer[0], here[0], strict=True)]
    return {
        "ours": speed(seconds, here), "theirs": speed(seconds, peer), "ratio": round(statistics.median(ratios), 2),
        "parts": {n: speed(seconds, t) for n, t in (("loudness", loud), ("true_peak", peak), ("spectra", transform))},
        "integrated_lufs": [round(float(v), 3) for v in (theirs(x)["integrated_lufs"], a.loudness.integrated)],
        "true_peak_dbtp": [round(float(v), 3) for v in (theirs(x)["true_peak_dbtp"], ours(x)["true_peak_dbtp"])],
    }


def whole_reports(x: np.ndarray, rounds: int, takes: int = 8) -> dict[str, Any]:
    """`score` of the sound, `score_batch` of takes of a quarter its length, `score_file` of a file of it
    over and over."""
    seconds = x.shape[1] / RATE
    quarter = x.shape[1] // 4
    batch = torch.from_numpy(np.stack([x[:, k % 4 * quarter :][:, :quarter] for k in range(takes)]))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "take.wav"
        copies = int(np.ceil(60.0 / seconds))  # a file of a minute or more, in sections of 15 s: shorter ones are not cut
        soundfile.write(file, np.tile(x, copies).T, RATE, subtype="FLOAT")
        script, one, many, streamed = spent(
            lambda: theirs(x),
            lambda: score(x, RATE),
            lambda: score_batch(batch, RATE),
            lambda: score_file(file, section_s=15.0),
            rounds=rounds,
        )
    ratios = [p / h for p, h in zip(script[0], one[0], strict=True)]
    return {
        "score": {**speed(seconds, one), "ratio": round(statistics.median(ratios), 2)},
        "batch": {"takes": takes, "seconds_each": quarter / RATE, **speed(takes * quarter / RATE, many)},
        "stream": speed(copies * seconds, streamed),
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    result: dict[str, Any] = {"rate_hz": RATE, "channels": 2, "seconds": args.seconds}
    for name, x in material(args.seconds, args.seed).items():
        result[name] = {"same": same_quantities(x, args.rounds), **whole_reports(x, args.rounds)}
    report(result, args.out)


if __name__ == "__main__":
    main()
