"""Latent mixing against waveform mixing: ``python -m segue.training.studies.mixing --out docs/studies``.

Question 4 of the seed: can latents be averaged? Two sounds are mixed at weight w as latents (then decoded) and as waveforms,
for three kinds of pair: two stems of one song, two clips of other songs, and two takes of one prompt. Figures: SI-SDR and
log-spectral distance of the latent mix to the waveform mix, chroma similarity to either sound, overall score; the
waveform mix through the autoencoder is the ceiling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ...scoring import score
from ...scoring.reference import chroma_similarity, log_spectral_distance, si_sdr
from ...stages import Generate
from ..evaluation.bench import Bench, audio_of, mean
from .command import carry_out, parser_of

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def compare(bench: Bench, a: torch.Tensor, b: torch.Tensor, weight: float) -> dict[str, float | None]:
    """One pair at one weight (of b): the latent mix beside the waveform mix."""
    za, zb = bench.pool.encode(a[None]), bench.pool.encode(b[None])
    made = bench.pool.decode((1 - weight) * za + weight * zb)[0, :, : a.shape[-1]]
    wanted = (1 - weight) * a + weight * b
    ceiling = bench.through(wanted)
    lsd, best = (log_spectral_distance(wanted, x, bench.rate_hz) for x in (made, ceiling))
    return {
        "si_sdr_db": si_sdr(wanted, made, bench.rate_hz), "ceiling_si_sdr_db": si_sdr(wanted, ceiling, bench.rate_hz),
        "lsd_db": None if lsd is None else 10 * lsd, "ceiling_lsd_db": None if best is None else 10 * best,
        "like_a": chroma_similarity(a, made, bench.rate_hz), "like_b": chroma_similarity(b, made, bench.rate_hz),
        "score": score(made, bench.rate_hz).overall, "waveform_score": score(ceiling, bench.rate_hz).overall,
    }  # fmt: skip


def pairs(bench: Bench) -> dict[str, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Two stems of a song, two songs, two takes of a prompt."""
    count = len(bench.clips)
    stems = []
    for k, clip in enumerate(bench.clips):
        tracks = list(clip.stems)
        if len(tracks) > 1:
            stems.append((bench.part(k, tracks[:1]), bench.part(k, tracks[1:2])))
    run = bench.run({
        f"t{k}_{take}": Generate(variant="turbo", prompt=bench.prompt(k), seed=10 * k + take)
        for k in range(count) for take in (0, 1)
    })  # fmt: skip
    return {
        "two stems of a song": stems,
        "two songs": [(bench.samples(k), bench.samples((k + 1) % count)) for k in range(count)],
        "two takes of a prompt": [(audio_of(run, f"t{k}_0"), audio_of(run, f"t{k}_1")) for k in range(count)],
    }


def study(bench: Bench) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for kind, found in pairs(bench).items():
        result[kind] = {}
        for weight in WEIGHTS:
            rows = [compare(bench, a, b, weight) for a, b in found]
            result[kind][str(weight)] = {name: mean([row[name] for row in rows]) for name in rows[0]}
    return result


def draw(result: dict[str, Any], out: Path) -> None:
    """A panel a figure: lines over the weight, one a kind of pair; ceilings dashed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = (("si_sdr_db", "ceiling_si_sdr_db"), ("lsd_db", "ceiling_lsd_db"), ("like_a", "like_b"), ("score", "waveform_score"))
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.6))
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    for axis, (solid, dashed) in zip(axes, panels, strict=True):
        for colour, (kind, rows) in zip(colours, result.items(), strict=False):
            at = [float(w) for w in rows]
            axis.plot(at, [rows[w][solid] for w in rows], color=colour, marker="o", label=kind)
            axis.plot(at, [rows[w][dashed] for w in rows], color=colour, ls="--", lw=1)
        axis.set(xlabel="weight of the second", title=f"{solid} (dashed: {dashed})")
        axis.title.set_fontsize(9)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=80)
    plt.close(figure)


def main(argv: list[str] | None = None) -> int:
    args = parser_of("mixing", __doc__, clips=10).parse_args(argv)
    return carry_out("mixing", args, lambda bench, _: study(bench), draw, seeds=3000)


if __name__ == "__main__":
    raise SystemExit(main())
