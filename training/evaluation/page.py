"""One picture: spectrograms of a few unseen clips and of what the model makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ...pipeline.spec import Stage
from ...stages import Cover, Generate, Repaint
from .bench import Bench, audio_of
from .covers import GUIDED
from .stems import extracts


def draw_page(bench: Bench, out: Path, clips: int = 4) -> None:
    """Columns: the clip, its reconstruction, base, turbo, a repaint, a stem, its extract, the same cut out of the mix, a cover
    under another caption."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = range(min(clips, len(bench.clips)))
    stages: dict[str, Stage] = {}
    for k in shown:
        prompt, other = bench.prompt(k), bench.prompt((k + 1) % len(bench.clips))
        stages |= {
            f"base{k}": Generate(variant="base", prompt=prompt, seed=k),
            f"turbo{k}": Generate(variant="turbo", prompt=prompt, seed=k),
            f"repaint{k}": Repaint(source=f"clip{k}", start_s=3, end_s=5, variant="base", prompt=prompt, seed=k),
            f"cover{k}": Cover(source=f"clip{k}", strength=0.9, variant="base", prompt=other, seed=k, guidance=GUIDED),
            **extracts(bench, k),
        }
    run = bench.run(stages)
    figure, axes = plt.subplots(len(shown), 9, figsize=(27, 2.6 * len(shown)), squeeze=False)
    for k in shown:
        sounds = {"clip": bench.samples(k), "reconstruction": bench.reconstructions[k]}
        sounds |= {name: audio_of(run, f"{name}{k}") for name in ("base", "turbo", "repaint")}
        track = next(iter(bench.clips[k].stems))
        sounds[track] = bench.part(k, [track])
        made = {"extract": f"x{k}_{track}", "extract and wiener": f"together_x{k}_{track}", "cover": f"cover{k}"}
        sounds |= {title: audio_of(run, name) for title, name in made.items()}
        for axis, (name, samples) in zip(axes[k], sounds.items(), strict=True):
            axis.imshow(_decibels(samples), origin="lower", aspect="auto", vmin=-90, vmax=-10, cmap="magma",
                        extent=(0, samples.shape[-1] / bench.rate_hz, 0, bench.rate_hz / 2000))  # fmt: skip
            axis.set_title(name, fontsize=9)
        axes[k, 0].set_ylabel(f"{bench.clips[k].style}\n{bench.clips[k].bpm} bpm, {bench.clips[k].keyscale}\nkHz", fontsize=8)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=70)
    plt.close(figure)


def _decibels(samples: torch.Tensor) -> np.ndarray:
    window = torch.hann_window(1024)
    spectrum = torch.stft(samples.mean(0), 1024, 256, window=window, return_complex=True).abs() / window.sum()
    return (20 * torch.log10(spectrum + 1e-6)).numpy()
