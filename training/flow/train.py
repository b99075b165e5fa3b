"""Train a transformer by flow matching: ``python -m segue.training.flow.train --cache DIR --out DIR --minutes 45``.

``--variant base`` trains text encoder, condition encoder and transformer together on all six tasks; ``--variant sft``
continues the transformer alone on the curated part, with full prompts. x_t = (1 − t)·x0 + t·noise, the network
predicts noise − x0, t is logit-normal. Base must also let tempo and beat be read (``beats``).
Budget: ``--minutes`` of wall clock or ``--steps``; ``--resume`` continues with optimizer, schedule, averages and data
position. Writes ``<variant>.pt`` (averaged weights), ``<variant>_last.pt``, ``<variant>.csv`` (training and validation
loss a task). ``--device cuda --half --workers 12 --batch 256`` fills a large GPU; noise and times are then drawn
there, and repeat on that kind of machine.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..average import Average
from ..build_mini import load_checkpoints
from ..device import prepare
from ..loading import batches
from ..mini import make_mini, set_silence_latent
from ..progress import Progress, write
from .beats import BeatReader
from .cache import load_shards, wait_for_shards
from .graphs import GraphedLoss
from .network import FlowNetwork, precision
from .start import start_transformer
from .tasks import EARLY_LENGTHS, EARLY_WEIGHTS, LENGTHS, TASKS, WEIGHTS, Batch, draw_batch

DROPOUT = 0.1
JUDGED_CLIPS = 32
LIFT = 0.8  # of text2music's times: what a generation from text is to be, tempo above all, is decided in much noise
PADDED = 32  # to a multiple of this prompts, references and covers are padded where every shape is recorded


def flow_inputs(
    network: FlowNetwork, batch: Batch, seed: tuple[int, ...], dropout: float = DROPOUT, lift: float = 0.0
) -> tuple[torch.Tensor, ...]:
    """What ``velocity_error`` takes, on the network's device; noise, times and dropout follow ``seed``. ``lift``: how much
    later the times of text2music are drawn, before the logistic function."""
    device = network.silence.device
    generator = torch.Generator(device).manual_seed(int(np.random.default_rng(seed).integers(2**62)))
    target = batch.target.to(device, non_blocking=True)
    noise = torch.randn(target.shape, generator=generator, device=device)
    drawn = torch.randn(len(target), generator=generator, device=device)
    time_value = torch.sigmoid(drawn + lift * batch.composed.to(device))
    uniform = torch.rand(len(target), generator=generator, device=device)
    time_value = torch.where(uniform < 0.1, uniform * 10, time_value)
    noisy = (1 - time_value)[:, None, None] * target + time_value[:, None, None] * noise
    dropped = torch.rand(len(target), generator=generator, device=device) < dropout
    laid = (part.to(device, non_blocking=True) for part in (batch.source, batch.mask, batch.covers))
    return noisy, time_value, noise - target, dropped, *laid, *network.read(batch)


def velocity_error(
    network: FlowNetwork, half: bool, noisy: torch.Tensor, time_value: torch.Tensor, wanted: torch.Tensor,
    dropped: torch.Tensor, source: torch.Tensor, mask: torch.Tensor, covers: torch.Tensor, *prompts: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """Squared velocity error of each example, ``[B]``; ``half``: in bfloat16."""
    context = network.lay_out(source, mask, covers)
    with precision(noisy.device, half):
        states, present = network.encode(*prompts)
        states = torch.where(dropped[:, None, None], network.null_states(states), states)
        predicted = network.velocity(noisy, time_value, states, present, context)
    return (predicted.float() - wanted).pow(2).mean((1, 2))


def flow_loss(
    network: FlowNetwork, batch: Batch, seed: tuple[int, ...], dropout: float = DROPOUT, half: bool = False
) -> torch.Tensor:
    """Squared velocity error of each example, ``[B]``; noise, times and dropout follow ``seed``; ``half``: in bfloat16."""
    return velocity_error(network, half, *flow_inputs(network, batch, seed, dropout))


@torch.no_grad()
def judge(network: FlowNetwork, items: list[dict[str, Any]]) -> dict[str, float]:
    """Validation loss a task on held-out clips, with fixed crops, noise and times."""
    scores = {}
    for number, task in enumerate(TASKS):
        usable = [item for item in items if item["rests"]]
        batch = draw_batch(usable, 12, network.silence[: max(LENGTHS)].cpu(), np.random.default_rng([5, number]),
                           weights={task: 1.0}, lengths=(124,), full_prompts=True)
        scores[task] = round(float(flow_loss(network, batch, (6, number), dropout=0.0).mean()), 4)
    return scores


def curated(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The part that sft continues on: three tracks or more, with rhythm and bass."""
    rhythm = {"drums", "percussion"}
    return [i for i in items if len(t := set(i["facts"]["instruments"])) >= 3 and t & rhythm and "bass" in t]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="segue.training.flow.train", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="holds vae.pt and tokens.pt; results go there too")
    parser.add_argument("--variant", choices=("base", "sft"), default="base")
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--steps", type=int, help="budget in steps instead of minutes")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0, help="of batches and noise: another when going on from base.pt")
    parser.add_argument("--warmup", type=int, default=100, metavar="STEPS")
    parser.add_argument("--decay", type=float, default=0.999)
    parser.add_argument("--judge-every", type=float, default=240.0, metavar="SECONDS")
    parser.add_argument("--look-every", type=float, default=240.0, metavar="SECONDS", help="for new clips and tokens")
    parser.add_argument("--stop-file", type=Path, help="a file whose appearance ends the run early, schedule finished")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw batches ahead (0: none, as a CPU wants it)")
    parser.add_argument("--wait-clips", type=int, default=0, help="begin when the cache holds so many")
    parser.add_argument("--graphs", action="store_true", help="record the passes as CUDA graphs: less waiting for Python")
    parser.add_argument("--no-early", action="store_true", help="go on from base.pt: all lengths and later weights at once")
    parser.add_argument("--hold-encoders", action="store_true",
                        help="base: the transformer alone goes on; sft and turbo, who share the encoders, stay as they are")
    parser.add_argument("--half", action="store_true", help="bfloat16 where it is safe: faster where the machine has it")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args(argv)
    if args.graphs and not args.device.startswith("cuda"):
        parser.error(f"--graphs records CUDA graphs, and --device is {args.device}: write --device cuda, or leave --graphs out")
    if args.no_early and args.variant == "base" and not (args.out / "base.pt").exists():
        parser.error(f"--no-early goes on from {args.out / 'base.pt'}, which is not there: leave it out to begin from the start")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    prepare(args.device, args.threads)
    mini = make_mini()
    load_checkpoints(mini, args.out)
    set_silence_latent(mini)
    if args.variant == "base" and not (args.out / "base.pt").exists():
        start_transformer(mini.transformer["base"])
    network = FlowNetwork(mini, args.variant).to(args.device)
    known: set[str] = set()
    items = wait_for_shards(args.cache, known, args.wait_clips)
    if len(items) <= JUDGED_CLIPS:
        print(f"{args.cache} holds {len(items)} clips, and the first {JUDGED_CLIPS} are only judged on: encode more "
              "(flow.cache --clips), or wait for more (--wait-clips)", file=sys.stderr)  # fmt: skip
        return 2
    Trainer(network, items, known, args).run()
    return 0


def training_loss(
    network: FlowNetwork, reader: BeatReader | None, half: bool, told: torch.Tensor, angles: torch.Tensor,
    composed: torch.Tensor, phases: torch.Tensor, *inputs: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """What is descended: the mean ``velocity_error``, and what ``reader`` misses of tempo and beat."""
    loss = velocity_error(network, half, *inputs).mean()
    if reader is None:
        return loss
    with precision(phases.device, half):
        return loss + reader.error(told, angles, composed, phases)


class Trainer:
    """State of one run: network, optimizer, average, position."""

    def __init__(
        self, network: FlowNetwork, items: list[dict[str, Any]], known: set[str], args: argparse.Namespace
    ) -> None:
        self.network, self.args, self.known = network, args, known
        self.judged, self.items = items[:JUDGED_CLIPS], items[JUDGED_CLIPS:]
        self.pool = self.items
        self.encoders_learn = args.variant == "base" and not args.hold_encoders
        trained = network if self.encoders_learn else network.transformer
        if self.encoders_learn:
            network.hold_tempos()
        else:
            network.requires_grad_(False)
            trained.requires_grad_(True)
        self.reader = BeatReader(network.transformer).to(args.device) if args.variant == "base" else None
        parameters = [p for part in (trained, self.reader) if part is not None for p in part.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.01,
                                      fused=args.device != "cpu")  # fmt: skip
        self.share = torch.zeros(1).share_memory_()  # of the budget that is spent, for the processes that draw batches
        self.batches: Iterator[Batch] | None = None
        self.graphed = GraphedLoss(partial(training_loss, network, self.reader, args.half), parameters) if args.graphs else None
        self.progress = Progress(parameters, optimizer, Average(parameters, args.decay), minutes=args.minutes,
                                 steps=args.steps)  # fmt: skip
        self.silence = network.silence[: max(LENGTHS)].cpu()
        self.tokens_stamp: float | None = None
        self.refresh_tokens()
        if args.resume and self.last_path.exists():
            self.progress.restore(self.last_path)

    @property
    def last_path(self) -> Path:
        return self.args.out / f"{self.args.variant}_last.pt"

    def run(self) -> None:
        log = csv.writer((self.args.out / f"{self.args.variant}.csv").open("a", encoding="utf-8", buffering=1))
        progress, losses = self.progress, list[torch.Tensor]()
        progress.begin()
        marked = looked = progress.spent_s
        while progress.share() < 1.0:
            losses.append(self.train_step())
            progress.tick()
            if progress.step % 50 == 0:
                loss = float(torch.stack(losses).mean())
                log.writerow([progress.step, round(progress.spent_s, 1), "train", round(loss, 4)])
                losses = []
            if progress.spent_s - looked > min(self.args.look_every, self.args.judge_every):
                looked = progress.spent_s
                self.look_again()
            if progress.spent_s - marked > self.args.judge_every:
                marked = progress.spent_s
                self._milestone(log)
                if self.args.stop_file and self.args.stop_file.exists():
                    break
        self._milestone(log)

    def look_again(self) -> None:
        """Take in what other processes have written meanwhile: clips and tokens."""
        if more := load_shards(self.args.cache, self.known):
            self.items += more
            self.batches = None
        self.refresh_tokens()

    def refresh_tokens(self) -> None:
        """Take over ``tokens.pt`` when it has appeared or changed; without it there are no covers to train on."""
        path = self.args.out / "tokens.pt"
        if path.exists() and (stamp := path.stat().st_mtime) != self.tokens_stamp:
            if self.tokens_stamp is None:
                self.batches = None  # those drawn ahead know of no covers yet
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.network.audio_tokenizer.load_state_dict(state["audio_tokenizer"])
            self.network.detokenizer.load_state_dict(state["audio_token_detokenizer"])
            self.tokens_stamp = stamp

    def train_step(self) -> torch.Tensor:
        """One optimizer step, its loss; everything random follows from the step's number."""
        args, progress = self.args, self.progress
        progress.set_rate(args.rate, warmup=args.warmup)
        self.share[0] = progress.share()
        if self.batches is None:
            self.pool = curated(self.items) if args.variant == "sft" else self.items
            self.batches = batches(self.draw, progress.step, workers=args.workers, pin=args.device != "cpu")
        batch = next(self.batches)
        device = self.network.silence.device
        asked = (batch.told, batch.angles, batch.composed, batch.phases)
        inputs = (*(part.to(device, non_blocking=True) for part in asked),
                  *flow_inputs(self.network, batch, (3, args.seed, progress.step), lift=LIFT))  # fmt: skip
        if self.graphed is not None:
            loss = self.graphed(*inputs)
            progress.follow()
        else:
            loss = training_loss(self.network, self.reader, args.half, *inputs)
            progress.descend(loss)
        if self.encoders_learn:
            self.network.hold_tempos()
        return loss.detach()

    def draw(self, step: int) -> Batch:
        """The batch of ``step``, tokenized."""
        args = self.args
        sft = args.variant == "sft"
        share = step / args.steps if args.steps else float(self.share)
        early, short = share < 0.15 and not (sft or args.no_early), share < 0.5 and not (sft or args.no_early)
        weights = EARLY_WEIGHTS if early else WEIGHTS
        if self.tokens_stamp is None:
            weights = {**weights, "cover": 0.0}
        batch = draw_batch(self.pool, args.batch, self.silence, np.random.default_rng([2 if sft else 1, args.seed, step]),
                           weights=weights, full_prompts=sft, lengths=EARLY_LENGTHS if short else LENGTHS)  # fmt: skip
        batch.tokens = self.network.tokenize(batch, PADDED if args.graphs else None)
        if args.graphs:
            batch.pad(PADDED)
        return batch

    def _milestone(self, log: Any) -> None:
        """Judge the averaged weights, write them and what is needed to resume."""
        progress = self.progress
        progress.average.swap()
        scores = judge(self.network, self.judged)
        write(self.network.trained_state(), self.args.out / f"{self.args.variant}.pt")
        progress.average.swap()
        for task, value in scores.items():
            log.writerow([progress.step, round(progress.spent_s, 1), task, value])
        print(progress.step, round(progress.spent_s), scores, f"{len(self.items)} clips", flush=True)
        progress.save(self.last_path)


if __name__ == "__main__":
    raise SystemExit(main())
