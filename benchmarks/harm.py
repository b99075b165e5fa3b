"""What harms a sound must not raise its score: on music that nobody here composed.

    python benchmarks/harm.py FOLDER [--clips N] [--out FILE]

Stretches of 12 s of the sound files under FOLDER, each scored as it is and after every harm. A line a harm: in how many of them
the overall score rises, by more than 0.01 (which rounding alone may do) and by more than 0.1; the most; the median change. Under
it the stretches that rose by more than 0.1, with the defects that are no longer reported.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import butter, lfilter, sosfilt

sys.path.insert(0, str(Path(__file__).parent))

from material import of_files
from segue.scoring import score

Harm = Callable[[np.ndarray, int], np.ndarray]
ALL_PASSES_S = ((0.0113, 0.0079, 0.0053, 0.0031), (0.0127, 0.0089, 0.0047, 0.0029))
LEAST, MUCH = 0.01, 0.1


def hiss(x: np.ndarray, rate_hz: int, below_db: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(x.shape)
    return x + noise * np.sqrt(np.square(x, dtype=np.float64).mean()) * 10 ** (-below_db / 20)


def emptied(x: np.ndarray, rate_hz: int, at: float, length_s: float) -> np.ndarray:
    """Nothing for a while, put in at a share of the length."""
    place = int(at * x.shape[1])
    return np.concatenate([x[:, :place], np.zeros((len(x), int(length_s * rate_hz))), x[:, place:]], axis=1)


def compressed(x: np.ndarray, rate_hz: int, power: float) -> np.ndarray:
    n = int(0.05 * rate_hz)
    return x * (uniform_filter1d(maximum_filter1d(np.abs(x).max(axis=0), n), n) + 1e-3) ** -power


def low_passed(x: np.ndarray, rate_hz: int, edge_hz: float, order: int) -> np.ndarray:
    return np.asarray(sosfilt(butter(order, edge_hz, fs=rate_hz, output="sos"), x))


def clipped(x: np.ndarray, rate_hz: int, share: float) -> np.ndarray:
    ceiling = share * np.abs(x).max()
    return np.clip(x, -ceiling, ceiling)


def all_passed(x: np.ndarray, rate_hz: int, which: int) -> np.ndarray:
    """Four all-passes in a row (Schroeder, "Natural Sounding Artificial Reverberation", 1962)."""
    for delay_s in ALL_PASSES_S[which]:
        b = np.zeros(int(delay_s * rate_hz) + 1)
        b[0], b[-1] = -0.6, 1.0
        x = lfilter(b, b[::-1], x)
    return x


def widened(x: np.ndarray, rate_hz: int, amount: float) -> np.ndarray:
    """The middle through all-passes, added on the left and taken from the right."""
    side = amount * all_passed(x.mean(axis=0), rate_hz, 0)
    return x + np.stack([side, -side])


def apart(x: np.ndarray, rate_hz: int) -> np.ndarray:
    return np.stack([all_passed(channel, rate_hz, which) for which, channel in enumerate(x)])


def delayed(x: np.ndarray, rate_hz: int, delay_s: float) -> np.ndarray:
    return np.stack([x[0], np.pad(x[1], (int(delay_s * rate_hz), 0))[: x.shape[1]]])


HARMS: Mapping[str, Harm] = {
    **{f"hiss, {db} dB below": partial(hiss, below_db=db) for db in (60, 50, 40, 30, 20)},
    **{f"{s} s of silence after it": partial(emptied, at=1.0, length_s=s) for s in (0.3, 1.0, 4.0)},
    "1 s of silence before it": partial(emptied, at=0.0, length_s=1.0),
    "1 s of silence in it": partial(emptied, at=0.4, length_s=1.0),
    **{f"compressor, {p}": partial(compressed, power=p) for p in (0.3, 0.6)},
    **{f"decorrelator, {a}": partial(widened, amount=a) for a in (0.2, 0.5, 1.0)},
    "all-passes on each channel": apart,
    "one channel 15 ms late": partial(delayed, delay_s=0.015),
    **{f"low-pass {f} Hz, order {o}": partial(low_passed, edge_hz=f, order=o) for f in (3_000, 8_000, 14_000) for o in (2, 8)},
    **{f"clipped at {c}": partial(clipped, share=c) for c in (0.8, 0.5, 0.2)},
}


def measure(folder: Path, clips: int) -> dict[str, Any]:
    """How far each harm raises the score of each stretch that is stereo, at 32 kHz and more, which all harms are made for."""
    rises: dict[str, list[float]] = {name: [] for name in HARMS}
    told: dict[str, list[str]] = {name: [] for name in HARMS}
    clean: list[float] = []
    for sound in of_files(folder, clips):
        if len(sound.samples) != 2 or sound.rate_hz < 32_000:
            continue
        before = score(sound.samples, sound.rate_hz)
        clean.append(before.overall)
        for name, harm in HARMS.items():
            after = score(harm(sound.samples, sound.rate_hz).astype(np.float32), sound.rate_hz)
            rises[name].append(round(after.overall - before.overall, 2))
            if rises[name][-1] > MUCH:
                gone = sorted(set(before.defect_types()) - set(after.defect_types()))
                told[name].append(f"{sound.source} by {rises[name][-1]}{f', without {gone}' if gone else ''}")
    return {"clean": clean, "rises": rises, "told": told}


def show(found: dict[str, Any]) -> None:
    clean = np.array(found["clean"])
    print(f"{clean.size} stretches; as they are {np.median(clean):.2f} in the median, {clean.min():.2f} to {clean.max():.2f}")
    print(f"{'harm':30}{'> ' + str(LEAST):>8}{'> ' + str(MUCH):>8}{'most':>8}{'median':>8}")
    for name, rises in found["rises"].items():
        r = np.array(rises)
        print(f"{name:30}{(r > LEAST + 1e-9).sum():>8}{(r > MUCH).sum():>8}{r.max():>8.2f}{np.median(r):>8.2f}")
        for one in found["told"][name]:
            print(f"    {one}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music", type=Path, metavar="FOLDER")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    args = parser.parse_args()
    found = measure(args.music, args.clips)
    show(found)
    if args.out is not None:
        args.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
