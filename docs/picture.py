"""Draw docs/run.png: the demo preset's graph beside spectrograms of the clip, degraded, restored and refined.

    python docs/picture.py [--out docs/run.png]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import segue
from matplotlib import image
from segue.pipeline.drawing import as_png
from segue.pipeline.take import Take

STAGES = ("degraded", "restored", "refined")


def spectrogram(axes: plt.Axes, take: Take, title: str, top_hz: float) -> None:
    """Magnitudes in dB below the loudest, mono, Hann 1024."""
    samples = take.audio.samples.mean(0).numpy()
    axes.specgram(samples, NFFT=1024, Fs=take.audio.rate_hz, noverlap=768, vmin=-130, vmax=-30, cmap="magma")
    axes.set_ylim(0, top_hz)
    axes.set_yticks(np.arange(0, top_hz + 1, 4000), [f"{int(f / 1000)}k" for f in np.arange(0, top_hz + 1, 4000)])
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "run.png")
    args = parser.parse_args()
    pipeline = segue.load("sr-refine-score")
    run = pipeline.run()
    figure = plt.figure(figsize=(11, 6), dpi=110, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2))
    with tempfile.TemporaryDirectory() as folder:
        graph = as_png(pipeline, Path(folder) / "graph.png")
        axes = left.subplots()
        axes.imshow(image.imread(graph or Path(folder) / "graph.png"))
        axes.axis("off")
    shown = [("clip", run.inputs["clip"]), *((name, run[name][0]) for name in STAGES)]
    for axes, (name, take) in zip(right.subplots(len(shown), 1, sharex=True), shown, strict=True):
        score = f"   score {run['scored'][0].report.overall:.2f}" if name == "refined" and run["scored"][0].report else ""
        spectrogram(axes, take, f"{name}{score}", 12_000)
    axes.set_xlabel("s", fontsize=8)
    figure.savefig(args.out)
    print(args.out)


if __name__ == "__main__":
    main()
