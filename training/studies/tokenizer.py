"""What survives the audio tokenizer: ``python -m segue.training.studies.tokenizer --out docs/studies``.

Question 1 of the seed: melody, harmony and rhythm against timbre, stereo and transients, for dense, sparse, vocal and drum
sources. Each source is heard after the autoencoder alone (ceiling), after a cover at strength 1 without caption, tempo or
key (so that all it knows comes through the tokens), and beside another source's cover (chance).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...pipeline.spec import Prompt
from ...stages import Cover
from ..corpus import Clip
from ..evaluation.bench import Bench, audio_of, mean
from .command import carry_out, parser_of
from .likeness import ASPECTS, likeness, mel_spectrum


def _sparse(clip: Clip) -> list[str] | None:
    found: list[str] = [track for track in ("keyboard", "guitar", "strings") if track in clip.stems]
    return found[:1] or None


KINDS: dict[str, Callable[[Clip], list[str] | None]] = {
    "dense": lambda clip: list(clip.stems) if len(clip.stems) >= 5 else None,
    "sparse": _sparse,
    "vocal": lambda clip: ["vocals"] if "vocals" in clip.stems else None,
    "drums": lambda clip: ["drums"] if "drums" in clip.stems else None,
}


def study(bench: Bench, each: int, steps: int = 30) -> dict[str, Any]:
    """Mean likeness of every aspect for every kind: ``tokens``, ``autoencoder`` (ceiling) and ``chance``."""
    usual = np.mean([mel_spectrum(bench.samples(k), bench.rate_hz) for k in range(len(bench.clips))], axis=0)
    result: dict[str, Any] = {}
    for kind, choose in KINDS.items():
        chosen = [(k, tracks) for k, clip in enumerate(bench.clips) if (tracks := choose(clip)) is not None][:each]
        stages = {}
        for k, tracks in chosen:
            name = f"{kind}{k}"
            bench.add_input(name, bench.part(k, tracks))
            prompt = Prompt(caption="", instrumental=True)
            stages[f"cover_{name}"] = Cover(source=name, strength=1.0, variant="base", steps=steps, prompt=prompt, seed=k)
        run = bench.run(stages)
        sources = [bench.part(k, tracks) for k, tracks in chosen]
        made = [audio_of(run, f"cover_{kind}{k}") for k, _ in chosen]
        rows = {
            "tokens": [likeness(s, m, bench.rate_hz, usual) for s, m in zip(sources, made, strict=True)],
            "autoencoder": [likeness(s, bench.through(s), bench.rate_hz, usual) for s in sources],
            "chance": [likeness(s, m, bench.rate_hz, usual) for s, m in zip(sources, made[1:] + made[:1], strict=True)],
        }
        result[kind] = {name: {a: mean([row[a] for row in found]) for a in ASPECTS} for name, found in rows.items()}
        result[kind]["sources"] = len(chosen)
    return result


def draw(result: dict[str, Any], out: Path) -> None:
    """A panel a kind: bars of every aspect beside ceiling and chance."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(result), figsize=(4.2 * len(result), 3.4), sharey=True)
    at = np.arange(len(ASPECTS))
    for axis, (kind, rows) in zip(axes, result.items(), strict=True):
        for shift, name in enumerate(("autoencoder", "tokens", "chance")):
            axis.bar(at + 0.27 * (shift - 1), [rows[name][a] for a in ASPECTS], 0.26, label=name)
        axis.set_xticks(at, ASPECTS, rotation=40, ha="right")
        axis.set_title(f"{kind} ({rows['sources']} sources)")
        axis.axhline(0, color="0.5", lw=0.5)
    axes[0].set_ylabel("likeness to the source")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=80)
    plt.close(figure)


def main(argv: list[str] | None = None) -> int:
    parser = parser_of("tokenizer", __doc__, clips=40)
    parser.add_argument("--each", type=int, default=10, help="sources a kind, chosen from the clips")
    return carry_out("tokenizer", parser.parse_args(argv), lambda bench, args: study(bench, args.each), draw, seeds=1000)


if __name__ == "__main__":
    raise SystemExit(main())
