"""``python -m segue.training.corpus DIR --clips N``: write clips with stems and their facts."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .clip import make_corpus


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.corpus", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--duration", type=float, default=8.0, metavar="SECONDS")
    parser.add_argument("--rate", type=int, default=24_000, metavar="HZ")
    parser.add_argument("--no-stems", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args(argv)
    start = time.perf_counter()
    written = make_corpus(
        args.folder, args.clips, first_seed=args.first_seed, duration_s=args.duration, rate_hz=args.rate,
        stems=not args.no_stems, workers=args.workers,
    )  # fmt: skip
    count = sum(1 for _ in written)
    print(f"{count} clips in {time.perf_counter() - start:.1f} s -> {args.folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
