"""A folder of segue-mini as checkpoints: ``python -m segue.training.unpack --out RUN [--folder DIR]``.

The inverse of ``build_mini``: writes ``vae.pt``, ``tokens.pt``, ``base.pt``, ``sft.pt`` and ``turbo.pt``, from which every
trainer goes on (``--no-early``). What is in the folder is fp16, averaged, and without an optimizer's state, so a trainer
begins its schedule anew. Overwrites nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from .build_mini import DEFAULT_OUT
from .mini import VARIANTS
from .progress import write


def read_part(folder: Path) -> dict[str, torch.Tensor]:
    """The state of one component, in float32."""
    (path,) = sorted(folder.glob("*.safetensors"))
    return {name: value.float() for name, value in load_file(path).items()}


def checkpoints(folder: Path) -> dict[str, dict[str, Any]]:
    """What each ``.pt`` file of a run holds, read from the folder that ``segue.json`` describes."""
    variants = json.loads((folder / "segue.json").read_text(encoding="utf-8"))["variants"]

    def part(name: str, variant: str = "base") -> dict[str, torch.Tensor]:
        return read_part(folder / variants[variant][name])

    told = {name: part(name) for name in ("text_encoder", "condition_encoder")}
    tokens = {name: part(name) for name in ("audio_tokenizer", "audio_token_detokenizer")}
    return {"vae": part("vae"), "tokens": tokens} | {
        variant: {**told, "transformer": part("transformer", variant)} for variant in VARIANTS
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.unpack", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--folder", type=Path, default=DEFAULT_OUT, help="the weights that ship, unless given")
    args = parser.parse_args(argv)
    if not (args.folder / "segue.json").exists():
        print(f"{args.folder} holds no segue.json: give a folder that build_mini wrote", file=sys.stderr)
        return 2
    states = checkpoints(args.folder)
    if there := [name for name in states if (args.out / f"{name}.pt").exists()]:
        print(f"{args.out} holds {', '.join(there)} already: give another --out, or move them away", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    for name, state in states.items():
        write(state, args.out / f"{name}.pt")
    print(f"{', '.join(states)} in {args.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
