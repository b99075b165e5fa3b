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
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from harms import HARMS
from material import of_files
from segue.scoring import score

LEAST, MUCH = 0.01, 0.1


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
    try:
        found = measure(args.music, args.clips)
    except ValueError as error:
        parser.error(str(error))
    if not found["clean"]:
        parser.error(f"{args.music} holds no stretch in stereo at 32 kHz and more")
    show(found)
    if args.out is not None:
        args.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
