"""Kill a night at random moments and see that nothing is lost and nothing made twice.

    python benchmarks/night_kills.py --kills 100

A plan on a tiny random model (two variants; takes whose latent says what is heard and takes where none does; a budget that
ends it before its prompts do) is carried out once undisturbed. Then, folder after folder, the same command is
started and killed with SIGKILL after a random time, again and again until it ends by itself; each such folder must then hold
byte for byte what the undisturbed one holds (groups, pairs, FLAC, latents; the queue, the account of times and the working
store apart). Every process is a fork of this one, so a start costs no imports.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

CREATED = "2026-01-01T00:00:00Z"
PRESET = """
model: {model}
stages:
  drafts: {{type: generate, variant: base, steps: 3}}
  judged: {{type: score, source: drafts}}
  polished: {{type: refine, source: judged, variant: turbo, denoise: 0.5, steps: 3}}
  rejudged: {{type: score, source: polished}}
  driven: {{type: degrade, source: polished, clip_db: 6}}
  judged_driven: {{type: score, source: driven}}
  mended: {{type: refine, source: judged_driven, variant: turbo, denoise: 0.3, steps: 3}}
  repainted: {{type: repaint, source: mended, variant: base, steps: 2, start_s: 0.2, end_s: 0.6}}
  judged_last: {{type: score, source: repainted}}
"""
PLAN = """
name: kills
seed: 3
prompts:
  grid: {{caption: "{{genre}} tune", genre: [jazz, funk, folk], bpm: [80, 120], duration_s: 1, instrumental: true}}
runs:
  - {{preset: {preset}, takes: 2, vary: {{drafts.steps: [2, 3]}}}}
strategies:
  - {{compare: seeds}}
  - {{compare: repair}}
audio: {audio}
budget: {{takes: 60}}
window: 3
"""


def night_files(root: Path) -> dict[str, str]:
    """SHA-256 of every file that must be the same in every night of a plan, by its place."""
    apart = ("work/", "night.sqlite3", "night.json")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    named = {path.relative_to(root).as_posix(): path for path in files}
    return {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in named.items() if not n.startswith(apart)}


def in_child(work: Callable[[], object]) -> int:
    """Do the work in a fork; gives its process number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def kill_after(pid: int, seconds: float) -> int | None:
    """Kill the process after that long; its exit code where it ended before, None where it was killed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGKILL else code


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--audio", choices=("all", "paired", "none"), default="paired")
    args = parser.parse_args(argv)

    import torch

    torch.set_num_threads(1)
    from segue.dataset.night import run_night
    from segue.pipeline.options import RunOptions

    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        model = build_two_variants(base / "model")
        (base / "preset.yaml").write_text(PRESET.format(model=model))
        plan = base / "plan.yaml"
        plan.write_text(PLAN.format(preset=base / "preset.yaml", audio=args.audio))

        options = RunOptions(threads=1, tile_frames=50, offline=True)

        def night(out: Path) -> object:
            return run_night(plan, out, created=CREATED, home=base / "home", options=options)

        begun = time.monotonic()
        code = kill_after(in_child(lambda: night(base / "whole")), 3600)
        lasts = time.monotonic() - begun
        if code != 0:
            raise SystemExit(f"the undisturbed night ended with {code}")
        wanted, kills, folders, wrong = night_files(base / "whole"), 0, 0, []
        while kills < args.kills:
            out = base / f"night{folders}"
            folders += 1
            while True:
                code = kill_after(in_child(lambda out=out: night(out)), rng.uniform(0, lasts) if kills < args.kills else 3600)
                if code is not None:
                    break
                kills += 1
            found = night_files(out)
            differ = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
            if code != 0 or differ:
                wrong.append({"folder": folders - 1, "exit": code, "differ": differ})
        facts = {"kills": kills, "folders": folders, "files": len(wanted), "undisturbed_s": round(lasts, 2), "wrong": wrong}
        print(json.dumps(facts))
    return 1 if wrong else 0


def build_two_variants(folder: Path) -> Path:
    """A tiny random model of two variants, base and turbo, that share everything but the transformer; gives its folder."""
    from segue.pipeline.models.tiny import build_tiny_acestep

    build_tiny_acestep(folder / "base", seed=1)
    with tempfile.TemporaryDirectory() as other:
        turbo = build_tiny_acestep(Path(other) / "turbo", seed=2, kind="turbo")
        shutil.copytree(folder / "base", folder / "turbo")
        shutil.rmtree(folder / "turbo" / "transformer")
        shutil.copytree(turbo / "transformer", folder / "turbo" / "transformer")
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
