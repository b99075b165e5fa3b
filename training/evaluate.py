"""Measure a miniature: ``python -m segue.training.evaluate [--model segue-mini] --out evaluation.json``.

Runs the product's own stages and presets on composer seeds that training never saw (50,000,000 on), each figure with its
chance level and its ceiling beside it. Writes the JSON (figures and the bars they are held to) and, with ``--page``, a
picture of spectrograms. ``--choosing`` takes other seeds (40,000,000 on): settings are chosen there, never on the judged.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .evaluation.autoencoder import judge_autoencoder
from .evaluation.bars import rows
from .evaluation.bench import CHOICE_FIRST_SEED, JUDGED_FIRST_SEED, Bench
from .evaluation.captions import judge_captions
from .evaluation.cost import judge_cost
from .evaluation.covers import judge_covers
from .evaluation.page import draw_page
from .evaluation.repainting import judge_repaint
from .evaluation.restoring import judge_refine, judge_restoring
from .evaluation.stems import judge_added, judge_extract

# The two that are compared everywhere: base at its 50 steps, turbo at its 8.
PAIR = {"base": 50, "turbo": 8}
GROUPS: dict[str, Callable[[Bench], Any]] = {
    "autoencoder": judge_autoencoder,
    "cost": judge_cost,
    "captions": judge_captions,
    "extract": judge_extract,
    "added": judge_added,
    "repaint": lambda bench: {name: judge_repaint(bench, name, steps) for name, steps in PAIR.items()},
    "cover": lambda bench: {name: judge_covers(bench, name, steps) for name, steps in PAIR.items()},
    "restoring": judge_restoring,
    "refine": lambda bench: {name: judge_refine(bench, name) for name in PAIR},
}


def rounded(value: Any) -> Any:
    """Plain data with four digits after the point; None for what is no number."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.evaluate", description=__doc__)
    parser.add_argument("--model", default="segue-mini", help="name or folder (see build_mini --out)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="picture of spectrograms to write")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--only", nargs="*", choices=tuple(GROUPS))
    parser.add_argument("--choosing", action="store_true", help="other seeds than the judged ones")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    first_seed = CHOICE_FIRST_SEED if args.choosing else JUDGED_FIRST_SEED
    report: dict[str, Any] = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    report.update(model=args.model, clips=args.clips, first_seed=first_seed, figures=report.get("figures", {}))
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(args.model, args.clips, Path(work), first_seed=first_seed)
        report["training"] = next(iter(bench.info.variants.values())).training
        report["fingerprints"] = {name: facts.fingerprint for name, facts in bench.info.variants.items()}
        for name in args.only if args.only is not None else GROUPS:
            began = time.monotonic()
            report["figures"][name] = rounded(GROUPS[name](bench))
            report["bars"] = rows(report["figures"])
            print(f"{name}, {time.monotonic() - began:.0f} s: {json.dumps(report['figures'][name])}", flush=True)
            args.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if args.page:
            draw_page(bench, args.page)
            print(args.page)
    for row in report.get("bars", []):
        print(f"{'met   ' if row['met'] else 'MISSED'} {row['what']}: {row['figure']} ({row['bar']}) {row['beside']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
