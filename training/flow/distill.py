"""Distil turbo: ``python -m segue.training.flow.distill --cache DIR --out DIR --minutes 12``.

Progressive distillation along turbo's own eight points, t = 3u / (1 + 2u) for u = 1, 7/8 … 1/8: the teacher (the
averaged base with guidance) walks from one point to the next in ``--substeps`` Euler steps, the student learns the
one velocity that gets there. Guidance is thereby baked in: the student sees one condition and needs no second branch.
Tasks are those that turbo serves: text2music, repaint and cover. Conditions come from the shared, frozen encoder.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..build_mini import load_checkpoints
from ..mini import make_mini, set_silence_latent
from .cache import load_shards
from .network import FlowNetwork
from .tasks import Batch, draw_batch
from .train import JUDGED_CLIPS, Average

STEPS = 8
SHIFT = 3.0
TURBO_WEIGHTS = {"text2music": 0.5, "repaint": 0.2, "cover": 0.3}


def turbo_times() -> torch.Tensor:
    """The eight points and the end, ``[9]``: 1.0 … 0.3, 0.0."""
    uniform = torch.linspace(1.0, 0.0, STEPS + 1)
    return SHIFT * uniform / (1 + (SHIFT - 1) * uniform)


def guided(
    teacher: FlowNetwork, x: torch.Tensor, time_value: torch.Tensor, conditions: tuple[torch.Tensor, torch.Tensor],
    context: torch.Tensor, scale: float,
) -> torch.Tensor:  # fmt: skip
    """Classifier-free guidance with the conditional branch's energy kept (rescaled a frame sequence at a time)."""
    states, mask = conditions
    double = torch.cat([states, teacher.null_states(states)])
    both = teacher.velocity(
        torch.cat([x, x]), torch.cat([time_value, time_value]), double, torch.cat([mask, mask]),
        torch.cat([context, context]))
    with_text, without = both.chunk(2)
    return with_text + (scale - 1) * (with_text - without)


def distil_loss(
    teacher: FlowNetwork, student: FlowNetwork, batch: Batch, scale: float, substeps: int, seed: tuple[int, ...]
) -> torch.Tensor:
    """Mean squared difference between the student's velocity and the teacher's way to the next point."""
    generator = torch.Generator().manual_seed(int(np.random.default_rng(seed).integers(2**62)))
    times = turbo_times()
    size = len(batch.target)
    point = torch.randint(0, STEPS, (size,), generator=generator)
    start, end = times[point], times[point + 1]
    noise = torch.randn(batch.target.shape, generator=generator)
    x_start = (1 - start)[:, None, None] * batch.target + start[:, None, None] * noise
    with torch.no_grad():
        conditions, context = teacher.conditions(batch), teacher.context(batch)
        x, step = x_start, (end - start) / substeps
        for index in range(substeps):
            velocity = guided(teacher, x, start + index * step, conditions, context, scale)
            x = x + step[:, None, None] * velocity
        wanted = (x - x_start) / (end - start)[:, None, None]
    return (student.velocity(x_start, start, *conditions, context) - wanted).pow(2).mean()


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="segue.training.flow.distill", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="holds vae.pt, tokens.pt, base.pt; turbo.pt goes there")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--substeps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    torch.set_num_threads(args.threads)
    mini = make_mini()
    load_checkpoints(mini, args.out)
    set_silence_latent(mini)
    teacher = FlowNetwork(mini, "base").eval().requires_grad_(False)
    student_mini = copy.copy(mini)
    student_mini.transformer = {"turbo": copy.deepcopy(mini.transformer["base"])}
    student = FlowNetwork(student_mini, "turbo")
    student.transformer.requires_grad_(True)
    items = load_shards(args.cache, set())[JUDGED_CLIPS:]
    run(teacher, student, items, args)
    return 0


def run(teacher: FlowNetwork, student: FlowNetwork, items: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """The loop; writes ``turbo.pt`` (averaged) every minute and at the end."""
    parameters = list(student.transformer.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.0)
    average = Average(parameters, 0.98)
    start, step, marked, losses = time.monotonic(), 0, 0.0, []
    while (spent := time.monotonic() - start) < 60 * args.minutes:
        share = spent / (60 * args.minutes)
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 20) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        rng = np.random.default_rng([4, step])
        batch = draw_batch(items, args.batch, student.silence, rng, weights=TURBO_WEIGHTS)
        loss = distil_loss(teacher, student, batch, args.guidance, args.substeps, (8, step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        average.update(step)
        losses.append(float(loss.detach()))
        if spent - marked > 60:
            marked = spent
            print(step, round(spent), round(float(np.mean(losses[-30:])), 4), flush=True)
            save(student, average, args.out / "turbo.pt")
    save(student, average, args.out / "turbo.pt")


def save(student: FlowNetwork, average: Average, path: Path) -> None:
    average.swap()
    torch.save({"transformer": {k: v.clone() for k, v in student.transformer.state_dict().items()}}, path)
    average.swap()


if __name__ == "__main__":
    raise SystemExit(main())
