"""Every benchmark in turn, each in a process of its own; JSON of each below `--out`.

    python -m benchmarks [--out runs/bench] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

NAMES = ("vs_diffusers", "memory", "executor", "t_start", "autoencoder", "scoring", "defects", "night")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in args.only:
        script = Path(__file__).parent / f"{name}.py"
        failed |= subprocess.run([sys.executable, str(script), "--out", str(args.out / f"{name}.json")], check=False).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
