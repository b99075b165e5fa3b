"""Draw what the trainers logged: ``python -m segue.training.curves RUN --out curves.png``.

Reads ``autoencoder.csv`` (step, seconds, waveform error, log-spectral distance) and ``<variant>.csv`` (step, seconds,
series, loss).
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np


def read_autoencoder(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Waveform error and log-spectral distance in dB over steps, each a mean over 100 steps."""
    rows = np.array([[float(cell) for cell in row] for row in csv.reader(path.open(encoding="utf-8"))])
    width = min(100, len(rows))
    smooth = np.ones(width) / width
    return {
        name: (rows[width - 1 :, 0], np.convolve(rows[:, column], smooth, mode="valid"))
        for name, column in (("waveform error, dB", 2), ("log-spectral distance, dB", 3))
    }


def read_flow(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Training loss and the validation loss of each task over steps."""
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for step, _, name, value in csv.reader(path.open(encoding="utf-8")):
        series[name].append((float(step), float(value)))
    return {name: (np.array(points)[:, 0], np.array(points)[:, 1]) for name, points in series.items()}


def draw(folder: Path, out: Path) -> list[str]:
    """One panel a log that exists; returns the panels' names."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = {}
    if (folder / "autoencoder.csv").exists():
        panels["autoencoder"] = read_autoencoder(folder / "autoencoder.csv")
    for variant in ("base", "sft", "turbo"):
        if (folder / f"{variant}.csv").exists():
            panels[variant] = read_flow(folder / f"{variant}.csv")
    if not panels:
        raise FileNotFoundError(f"no autoencoder.csv, base.csv, sft.csv or turbo.csv in {folder}")
    figure, axes = plt.subplots(1, len(panels), figsize=(6 * len(panels), 5), squeeze=False)
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for name, (steps, values) in lines.items():
            style = {"color": "0.7"} if name == "train" else {"marker": "." if len(steps) < 40 else None}
            axis.plot(steps, values, label=name, **style)
        axis.set(title=title, xlabel="step", ylabel="loss", yscale="linear" if title == "autoencoder" else "log")
        axis.legend(fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.08), frameon=False)  # above: hides no line
    figure.tight_layout()
    figure.savefig(out, dpi=80)
    plt.close(figure)
    return list(panels)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.curves", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    out = args.out or args.run / "curves.png"
    print(f"{', '.join(draw(args.run, out))} -> {out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
