"""Write the folder of segue-mini: ``python -m segue.training.build_mini [--out DIR] [--checkpoint DIR]``.

Without checkpoints the parts get seeded random weights ("untrained"). With ``--checkpoint`` the folder of a training
run is read: ``vae.pt``, ``tokens.pt``, ``base.pt``, ``sft.pt``, ``turbo.pt``, each optional. Components are saved by
their own ``save_pretrained`` in fp16 safetensors, so diffusers and transformers open them; the folder is written
beside its destination and renamed into place.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from .mini import VARIANTS, Mini, make_mini, set_silence_latent

DEFAULT_OUT = Path(__file__).resolve().parent.parent / "pipeline" / "models" / "weights" / "segue-mini"
SHARED = (
    "vae", "text_encoder", "tokenizer", "condition_encoder", "audio_tokenizer", "audio_token_detokenizer", "scheduler",
)  # fmt: skip
VERSION = "0.8.0"


def load_checkpoints(mini: Mini, folder: Path) -> list[str]:
    """Copy what ``folder`` holds into ``mini``; returns the names of the parts that were found."""
    found: list[str] = []

    def read(name: str) -> dict[str, Any] | None:
        path = folder / f"{name}.pt"
        if not path.exists():
            return None
        found.append(name)
        return torch.load(path, map_location="cpu", weights_only=True)

    if state := read("vae"):
        mini.vae.load_state_dict(state)
    if state := read("tokens"):
        mini.audio_tokenizer.load_state_dict(state["audio_tokenizer"])
        mini.audio_token_detokenizer.load_state_dict(state["audio_token_detokenizer"])
    if state := read("base"):
        mini.text_encoder.load_state_dict(state["text_encoder"])
        mini.condition_encoder.load_state_dict(state["condition_encoder"])
        for variant in VARIANTS:
            mini.transformer[variant].load_state_dict(state["transformer"])
    for variant in VARIANTS[1:]:
        if state := read(variant):
            mini.transformer[variant].load_state_dict(state["transformer"])
    return found


def manifest(training: str, note: str) -> dict[str, Any]:
    """The content of ``segue.json``: where each variant finds each component, relative to the folder."""
    shared = {name: f"shared/{name}" for name in SHARED}
    variants = {variant: {"transformer": f"{variant}/transformer", **shared} for variant in VARIANTS}
    return {
        "name": "segue-mini", "family": "acestep", "training": training, "version": VERSION,
        "variants": variants, "note": note,
    }  # fmt: skip


def write_folder(mini: Mini, out: Path, *, training: str, note: str, card: str) -> int:
    """Write all parts in fp16 next to ``out`` and swap the folder in; returns its size in bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    fresh.chmod(0o755)
    for name in SHARED:
        part = getattr(mini, name)
        if isinstance(part, torch.nn.Module):
            part.half()
        part.save_pretrained(fresh / "shared" / name)
    for variant in VARIANTS:
        mini.transformer[variant].half().save_pretrained(fresh / variant / "transformer")
    (fresh / "segue.json").write_text(json.dumps(manifest(training, note), indent=2) + "\n", encoding="utf-8")
    (fresh / "README.md").write_text(card, encoding="utf-8")
    for path in fresh.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    size = sum(path.stat().st_size for path in fresh.rglob("*") if path.is_file())
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
        out.rename(old / "folder")
        fresh.rename(out)
        shutil.rmtree(old)
    else:
        fresh.rename(out)
    return size


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.build_mini", description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--checkpoint", type=Path, help="folder of trained parts (vae.pt, tokens.pt, base.pt …)")
    parser.add_argument("--training", choices=("untrained", "preliminary", "trained"), default=None)
    parser.add_argument("--note", default="")
    parser.add_argument("--card", type=Path, help="model card to put beside the weights as README.md")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    mini = make_mini(args.seed)
    found = load_checkpoints(mini, args.checkpoint) if args.checkpoint else []
    set_silence_latent(mini)
    training = args.training or ("preliminary" if found else "untrained")
    note = args.note or (f"trained parts: {', '.join(found)}" if found else "seeded random weights: shapes, no music")
    card_path = args.card or Path(__file__).with_name("model_card.md")
    card = card_path.read_text(encoding="utf-8") if card_path.exists() else f"# segue-mini\n\n{note}\n"
    size = write_folder(mini, args.out, training=training, note=note, card=card)
    print(json.dumps({"out": str(args.out), "training": training, "found": found, "megabytes": round(size / 1e6, 2)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
