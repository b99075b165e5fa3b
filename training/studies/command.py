"""The command line that all studies share: unseen clips in, ``<name>.json`` and ``<name>.png`` out."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..evaluation.bench import CHOICE_FIRST_SEED, Bench

Study = Callable[[Bench, argparse.Namespace], Any]
Draw = Callable[[Any, Path], None]


def parser_of(name: str, about: str | None, *, clips: int) -> argparse.ArgumentParser:
    """Options of every study; a study adds its own."""
    parser = argparse.ArgumentParser(prog=f"segue.training.studies.{name}", description=about)
    parser.add_argument("--model", default="segue-mini")
    parser.add_argument("--out", type=Path, default=Path("docs/studies"))
    parser.add_argument("--clips", type=int, default=clips)
    parser.add_argument("--threads", type=int, default=2)
    return parser


def carry_out(name: str, args: argparse.Namespace, study: Study, draw: Draw, *, seeds: int) -> int:
    """Run ``study`` on clips from ``seeds`` on (counted from the seeds for choosing, never the judged), write both files."""
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        result = study(Bench(args.model, args.clips, Path(work), first_seed=CHOICE_FIRST_SEED + seeds), args)
    text = json.dumps(result, indent=1)
    (args.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    draw(result, args.out / f"{name}.png")
    print(text)
    return 0
