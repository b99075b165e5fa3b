"""Which `t_start` policy serves turbo best: distance of a partial denoising to a fine reference, for each policy.

    python benchmarks/t_start.py [--model segue-mini] [--variant turbo] [--takes 4] [--out FILE]

A take is generated, re-noised to `denoise` with one noise, and denoised in turbo's 8-step grid under each policy. The
reference is the same start with 50 respaced steps of the same weights. Distance: RMS of the latent difference over the
RMS of the reference; cost: forwards. The policy with the smallest distance per forward budget is turbo's default.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch
from peer import arguments, pool_of, report
from segue.pipeline.conditioning import instruction_for
from segue.pipeline.diffusion.guidance import make_guidance
from segue.pipeline.diffusion.loop import renoise, sample
from segue.pipeline.diffusion.schedules import start_at, timesteps
from segue.pipeline.diffusion.timeline import Timeline
from segue.pipeline.keys import noise
from segue.pipeline.models.base import ConditionRequest, Model
from segue.pipeline.spec import Prompt

POLICIES = ("truncate", "respace", "snap")
CAPTIONS = ("warm jazz trio, brushed drums", "funk band, slap bass", "slow ambient pads", "fast synth pop, four on the floor")


def denoised(model: Model, caption: str, x: torch.Tensor, ts: tuple[float, ...]) -> torch.Tensor:
    request = ConditionRequest(Prompt(caption=caption, instrumental=True), instruction_for("generate"), x.shape[1])
    return sample(
        model.denoiser(), Timeline.single(model.conditions([request])), ts, x, guidance=make_guidance("none", scale=1.0),
        noise=lambda purpose, step, shape: noise(0, purpose, step, shape),
    ).x


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--model", default="segue-mini")
    parser.add_argument("--variant", default="turbo")
    parser.add_argument("--takes", type=int, default=4)
    args = parser.parse_args()
    info, pool = pool_of(args.model)
    facts, model = info.variants[args.variant], pool.model(args.variant)
    d = facts.defaults
    grid = timesteps(d.schedule, d.steps, d.shift)
    frames = facts.frames(8 * facts.rate_hz)
    rows: dict[str, Any] = {}
    for denoise in (0.25, 0.4, 0.5, 0.6, 0.75, 0.9):
        distances: dict[str, list[float]] = {policy: [] for policy in POLICIES}
        steps = {}
        for i in range(args.takes):
            caption = CAPTIONS[i % len(CAPTIONS)]
            clean = denoised(model, caption, noise(i, "initial", 0, (1, frames, facts.latent_dim)), grid)
            added = noise(i, "again", 0, tuple(clean.shape))
            fine = start_at(timesteps(d.schedule, 20, d.shift), denoise, "respace", steps=50, shift=d.shift)
            reference = denoised(model, caption, renoise(clean, added, fine[0]), fine)
            for policy in POLICIES:
                ts = start_at(grid, denoise, policy, steps=d.steps, shift=d.shift)
                steps[policy] = len(ts)
                out = denoised(model, caption, renoise(clean, added, ts[0]), ts)
                distances[policy].append(float((out - reference).pow(2).mean().sqrt() / reference.pow(2).mean().sqrt()))
        rows[f"denoise {denoise}"] = {
            policy: {"distance": round(statistics.mean(distances[policy]), 4), "forwards": steps[policy]} for policy in POLICIES
        }
    report({"model": args.model, "variant": args.variant, "training": facts.training, "rows": rows}, args.out)


if __name__ == "__main__":
    main()
