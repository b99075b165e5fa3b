"""Two checkpoints' weights between one another: ``python -m segue.training.blend BEFORE.pt AFTER.pt --share 0.5 --out MADE.pt``.

A run that went on from trained weights ends at others, and what lies between the two is often better than either: it keeps
more of what was known and has most of what was learnt (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv
2109.01903, section 3: ``(1 − share)·before + share·after``, weight by weight). Only of runs of which one began where the other
ended: between two that began apart lies nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from .progress import write


def blend(before: dict[str, Any], after: dict[str, Any], share: float) -> dict[str, Any]:
    """``(1 − share)·before + share·after`` of every floating-point tensor, parts within parts; counts stay ``before``'s.
    Raises ``ValueError`` where the two hold other names or shapes, or ``share`` is not in 0 … 1."""
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; it is the second checkpoint's and lies in 0 … 1")
    if before.keys() != after.keys():
        raise ValueError(f"only one of the two holds {', '.join(sorted(before.keys() ^ after.keys())[:4])}")
    made: dict[str, Any] = {}
    for name, value in before.items():
        other = after[name]
        if isinstance(value, dict):
            made[name] = blend(value, other, share)
        elif value.shape != other.shape:
            raise ValueError(f"{name} is {list(value.shape)} in one and {list(other.shape)} in the other")
        else:
            made[name] = torch.lerp(value, other, share) if value.is_floating_point() else value
    return made


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.blend", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    if missing := [str(path) for path in (args.before, args.after) if not path.exists()]:
        print(f"{', '.join(missing)} is not there: give two checkpoints that a trainer wrote (base.pt …)", file=sys.stderr)
        return 2
    before, after = (torch.load(path, map_location="cpu", weights_only=True) for path in (args.before, args.after))
    try:
        made = blend(before, after, args.share)
    except ValueError as error:
        print(f"{args.before} and {args.after}: {error}", file=sys.stderr)
        return 2
    write(made, args.out)
    print(args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
