"""Distil turbo: ``python -m segue.training.flow.distill --cache DIR --out DIR --minutes 45``.

Progressive distillation (Salimans & Ho 2022, arXiv 2202.00512) along turbo's own eight points, t = 3u / (1 + 2u) for
u = 1, 7/8 … 1/8: the teacher (the averaged base under guidance) walks from one point to the next in ``--substeps`` Euler
steps, the student learns the one velocity that gets there. Guidance is thereby baked in: the student sees one condition
and needs no second branch. Half of the walks start where the student itself got to from pure noise, so that it learns to
mend its own errors. Tasks are those that turbo serves: text2music under ``--guidance``, cover under guidance with a scale for the
source too (``--source-scale``) and none in the last part of the way (``--guided-down-to``; Kynkäänniemi et al. 2024, "Applying
Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion Models", arXiv 2404.07724), repaint
unguided; a batch is of one task.
Conditions come from the shared, frozen encoders. ``--steps`` and ``--resume`` as in ``train``.
"""

from __future__ import annotations

import argparse
import copy
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...pipeline.diffusion.denoiser import COND, EMPTY, NULL
from ...pipeline.diffusion.guidance import Guidance, make_guidance
from ...pipeline.diffusion.schedules import timesteps
from ..average import Average
from ..build_mini import load_checkpoints
from ..device import prepare
from ..loading import batches
from ..mini import make_mini, set_silence_latent
from ..progress import Progress, write
from .cache import load_shards
from .network import FlowNetwork, precision
from .tasks import Batch, draw_batch
from .train import JUDGED_CLIPS

STEPS = 8
SHIFT = 3.0
TURBO_WEIGHTS = {"text2music": 0.5, "repaint": 0.15, "cover": 0.35}
LENGTHS = (100, 150, 200)


def turbo_times() -> torch.Tensor:
    """The eight points and the end, ``[9]``: 1.0 … 0.3, 0.0."""
    return torch.tensor([*timesteps("turbo", STEPS, SHIFT), 0.0])


def walk(
    teacher: FlowNetwork, x: torch.Tensor, start: float, end: float, substeps: int,
    conditions: tuple[torch.Tensor, torch.Tensor], context: torch.Tensor, guidance: Guidance,
) -> torch.Tensor:  # fmt: skip
    """The teacher's way from ``start`` to ``end`` in Euler steps, under guidance."""
    states, mask = conditions
    null = teacher.null_states(states)
    seen = {COND: (states, context), NULL: (null, context), EMPTY: (null, teacher.empty_context(context))}
    memory: dict[str, torch.Tensor] = {}
    for index in range(substeps):
        t = start + (end - start) * index / substeps
        names = guidance.branches(t)
        times = torch.full((len(names) * len(x),), t, device=x.device)
        velocities = teacher.velocity(
            x.repeat(len(names), 1, 1), times, torch.cat([seen[name][0] for name in names]), mask.repeat(len(names), 1),
            torch.cat([seen[name][1] for name in names]),
        )  # fmt: skip
        parts = dict(zip(names, velocities.float().chunk(len(names)), strict=True))
        x = x + (end - start) / substeps * guidance.combine(x, t, parts, memory)
    return x


def distil_loss(
    teacher: FlowNetwork, student: FlowNetwork, batch: Batch, guidance: Guidance, substeps: int, seed: tuple[int, ...],
    *, own_way: bool = False, half: bool = False,
) -> torch.Tensor:  # fmt: skip
    """Mean squared difference between the student's velocity and the teacher's way to the next point; ``half``: in bfloat16.

    The start is data with noise, or (``own_way``) where the student gets to from pure noise.
    """
    device = teacher.silence.device
    draws = torch.Generator().manual_seed(int(np.random.default_rng(seed).integers(2**62)))
    times = turbo_times()
    point = int(torch.randint(0, STEPS, (1,), generator=draws))
    start, end = float(times[point]), float(times[point + 1])
    generator = draws if device.type == "cpu" else torch.Generator(device).manual_seed(draws.initial_seed())
    noise = torch.randn(batch.target.shape, generator=generator, device=device)
    at = torch.full((len(noise),), start, device=device)
    times = times.to(device)
    context = teacher.context(batch)
    with torch.no_grad(), precision(device, half):
        conditions = teacher.conditions(batch)
        if own_way:
            x = noise
            for index in range(point):
                velocity = student.velocity(x, times[index].expand(len(x)), *conditions, context)
                x = x + (times[index + 1] - times[index]) * velocity
        else:
            x = (1 - start) * batch.target.to(device, non_blocking=True) + start * noise
        wanted = (walk(teacher, x, start, end, substeps, conditions, context, guidance) - x) / (end - start)
    with precision(device, half):
        velocity = student.velocity(x, at, *conditions, context)
    return (velocity.float() - wanted).pow(2).mean()


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="segue.training.flow.distill", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="holds vae.pt, tokens.pt, base.pt; turbo.pt goes there")
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--steps", type=int, help="budget in steps instead of minutes")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--guidance", choices=("cfg", "apg", "none"), default="apg")
    parser.add_argument("--scale", type=float, default=4.0)
    parser.add_argument("--source-scale", type=float, default=6.0, help="of covers: acoustic_scale of guidance 'multi'")
    parser.add_argument("--text-scale", type=float, default=2.0, help="of covers: text_scale of guidance 'multi'")
    parser.add_argument("--guided-down-to", type=float, default=0.35, metavar="T", help="of covers: the last time that is guided")
    parser.add_argument("--substeps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw batches ahead (0: none, as a CPU wants it)")
    parser.add_argument("--judge-every", type=float, default=240.0, metavar="SECONDS")
    parser.add_argument("--half", action="store_true", help="bfloat16 where it is safe: faster where the machine has it")
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    prepare(args.device, args.threads)
    mini = make_mini()
    load_checkpoints(mini, args.out)
    set_silence_latent(mini)
    teacher = FlowNetwork(mini, "base").eval().requires_grad_(False)
    student_mini = copy.copy(mini)
    student_mini.transformer = {"turbo": copy.deepcopy(mini.transformer["base"])}
    student = FlowNetwork(student_mini, "turbo")
    student.transformer.requires_grad_(True)
    teacher.to(args.device)
    student.to(args.device)
    Distiller(teacher, student, load_shards(args.cache, set())[JUDGED_CLIPS:], args).run()
    return 0


class Distiller:
    """State of one run: student, optimizer, average, position."""

    def __init__(
        self, teacher: FlowNetwork, student: FlowNetwork, items: list[dict[str, Any]], args: argparse.Namespace
    ) -> None:
        self.teacher, self.student, self.items, self.args = teacher, student, items, args
        parameters = list(student.transformer.parameters())
        optimizer = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.0,
                                      fused=args.device != "cpu")  # fmt: skip
        self.silence = student.silence[: max(LENGTHS)].cpu()
        self.batches: Iterator[tuple[Batch, str, bool]] | None = None
        self.progress = Progress(parameters, optimizer, Average(parameters, 0.995), minutes=args.minutes, steps=args.steps)
        self.guidance = {
            "text2music": make_guidance(args.guidance, scale=args.scale),
            "repaint": make_guidance("none", scale=1.0),
            "cover": make_guidance("multi", scale=1.0, acoustic_scale=args.source_scale, text_scale=args.text_scale,
                                   interval=(args.guided_down_to, 1.0)),
        }
        if args.resume and self.last_path.exists():
            self.progress.restore(self.last_path)

    @property
    def last_path(self) -> Path:
        return self.args.out / "turbo_last.pt"

    def run(self) -> None:
        log = csv.writer((self.args.out / "turbo.csv").open("a", encoding="utf-8", buffering=1))
        progress, losses = self.progress, list[torch.Tensor]()
        progress.begin()
        marked = progress.spent_s
        while progress.share() < 1.0:
            losses.append(self.train_step())
            progress.tick()
            if progress.step % 50 == 0:
                log.writerow([progress.step, round(progress.spent_s, 1), "train", round(float(torch.stack(losses).mean()), 5)])
            if progress.spent_s - marked > self.args.judge_every:
                marked = progress.spent_s
                print(progress.step, round(progress.spent_s), round(float(torch.stack(losses).mean()), 4), flush=True)
                losses = []
                self.checkpoint()
        self.checkpoint()

    def train_step(self) -> torch.Tensor:
        """One optimizer step, its loss; everything random follows from the step's number."""
        args, progress = self.args, self.progress
        progress.set_rate(args.rate, warmup=50)
        if self.batches is None:
            self.batches = batches(self.draw, progress.step, workers=args.workers, pin=args.device != "cpu")
        batch, task, own_way = next(self.batches)
        loss = distil_loss(self.teacher, self.student, batch, self.guidance[task], args.substeps, (8, progress.step),
                           own_way=own_way, half=args.half)  # fmt: skip
        progress.descend(loss)
        return loss.detach()

    def draw(self, step: int) -> tuple[Batch, str, bool]:
        """The batch of ``step``, tokenized; its task; whether the student walks to where it starts."""
        rng = np.random.default_rng([4, step])
        task = str(rng.choice(list(TURBO_WEIGHTS), p=list(TURBO_WEIGHTS.values())))
        batch = draw_batch(self.items, self.args.batch, self.silence, rng, weights={task: 1.0}, lengths=LENGTHS)
        batch.tokens = self.teacher.tokenize(batch)
        return batch, task, bool(rng.random() < 0.5)

    def checkpoint(self) -> None:
        """Write the averaged student, and what is needed to resume."""
        average = self.progress.average
        average.swap()
        weights = {name: value.cpu().clone() for name, value in self.student.transformer.state_dict().items()}
        average.swap()
        write({"transformer": weights}, self.args.out / "turbo.pt")
        self.progress.save(self.last_path)


if __name__ == "__main__":
    raise SystemExit(main())
