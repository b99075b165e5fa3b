"""Peak memory of the same guided text2music beside diffusers', each in a process of its own.

    python benchmarks/memory.py [--parameters 98000000] [--seconds 60] [--steps 2] [--out FILE]

Both load the same float32 checkpoint and make latents from the same noise; the figure is the process's largest resident set
(getrusage), so the interpreter and libraries count on both sides.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import torch
from peer import arguments, peer_of, random_checkpoint, report
from vs_diffusers import Ours, theirs


def child(who: str, folder: Path, seconds: float, steps: int) -> None:
    """One side, in this process; prints its peak in MiB."""
    with torch.inference_mode():
        if who == "ours":
            ours = Ours(folder, seconds)
            ours.text2music(torch.randn(1, ours.frames, ours.dim), steps, 7.0)
        elif who == "diffusers":
            pipe = peer_of(folder)
            frames = round(seconds * pipe.latents_per_second)
            theirs(pipe, seconds, torch.randn(1, frames, pipe.transformer.config.audio_acoustic_hidden_dim), steps, 7.0)
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--parameters", type=int, default=98_000_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--child", choices=("ours", "diffusers"))
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.folder, args.seconds, args.steps)
        return
    peaks = {}
    with random_checkpoint(args.parameters) as folder:
        for who in ("ours", "diffusers"):
            given = ["--folder", str(folder), "--seconds", str(args.seconds), "--steps", str(args.steps)]
            command = [sys.executable, __file__, "--child", who, *given]
            made = subprocess.run(command, check=True, capture_output=True, text=True)
            peaks[who] = float(made.stdout.strip().splitlines()[-1])
    report({
        "seconds": args.seconds, "steps": args.steps, "peak_mib": {k: round(v, 1) for k, v in peaks.items()},
        "ratio": round(peaks["ours"] / peaks["diffusers"], 4),
    }, args.out)


if __name__ == "__main__":
    main()
