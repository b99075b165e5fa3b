"""Our core beside diffusers' AceStepPipeline on one random checkpoint: text2music and cover, guided and not; the bare loop.

    python benchmarks/vs_diffusers.py [--parameters 98000000] [--seconds 8 60] [--steps 4] [--rounds 3] [--only cover] [--mini]
                                       [--out FILE]

Both make latents from the same noise; the peer's cover at strength < 1 pays two (guided: three) forwards a step where we
switch conditions in time, so that row compares cost, not equal bytes. `loop` is our whole loop (schedule, guidance, step)
against the same number of bare forwards through the same denoiser: what the loop itself costs.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peer import alternate, arguments, parameters_of, peer_of, pool_of, random_checkpoint, report
from segue.pipeline.conditioning import instruction_for
from segue.pipeline.diffusion.guidance import make_guidance
from segue.pipeline.diffusion.loop import sample
from segue.pipeline.diffusion.schedules import timesteps
from segue.pipeline.diffusion.timeline import Timeline
from segue.pipeline.models.base import ConditionRequest
from segue.pipeline.models.export import export_model
from segue.pipeline.spec import Prompt

WHAT = ("text2music", "cover", "loop")
CAPTION = "warm jazz trio, brushed drums, upright bass, late at night in a small room"
LYRICS = "[verse]\nthe lamp is low and the street is wet\n[chorus]\nstay a while and don't go yet"


class Ours:
    """One loaded variant and the calls the comparison needs."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.info, self.pool = pool_of(folder)
        variant = next(iter(self.info.variants))
        self.model = self.pool.model(variant)
        facts = self.info.variants[variant]
        self.frames = facts.frames(round(seconds * facts.rate_hz))
        self.dim = facts.latent_dim
        self.prompt = Prompt(caption=CAPTION, lyrics=LYRICS, vocal_language="en", bpm=96, keyscale="C major", timesignature="4")
        self.seconds = seconds

    def request(self, task: str, source: torch.Tensor | None) -> ConditionRequest:
        return ConditionRequest(
            self.prompt, instruction_for(task), self.frames, context="silence" if source is None else "quantized", source=source,
            duration_s=self.seconds,
        )

    def text2music(self, noise: torch.Tensor, steps: int, scale: float) -> torch.Tensor:
        timeline = Timeline.single(self.model.conditions([self.request("generate", None)]))
        return self._run(timeline, noise, steps, scale)

    def cover(self, noise: torch.Tensor, source: torch.Tensor, steps: int, scale: float, strength: float) -> torch.Tensor:
        first = self.model.conditions([self.request("cover", source)])
        later = self.model.conditions([self.request("generate", None)])
        return self._run(Timeline.cover(first, later, strength), noise, steps, scale)

    def _run(self, timeline: Timeline, noise: torch.Tensor, steps: int, scale: float) -> torch.Tensor:
        guidance = make_guidance("apg" if scale > 1 else "none", scale=scale)
        return sample(
            self.model.denoiser(), timeline, timesteps("linear", steps, 1.0), noise, guidance=guidance,
            noise=lambda purpose, step, shape: torch.zeros(tuple(shape)),
        ).x

    def bare(self, noise: torch.Tensor, steps: int) -> None:
        denoiser = self.model.denoiser()
        denoiser.switch(self.model.conditions([self.request("generate", None)]))
        for t in timesteps("linear", steps, 1.0):
            denoiser.velocity(noise, t, ("cond",))


def theirs(pipe: Any, seconds: float, noise: torch.Tensor, steps: int, scale: float, **task: Any) -> torch.Tensor:
    return pipe(
        prompt=CAPTION, lyrics=LYRICS, audio_duration=seconds, num_inference_steps=steps, guidance_scale=scale, shift=1.0,
        latents=noise, output_type="latent", bpm=96, keyscale="C major", timesignature="4", **task,
    ).audios


def compare(folder: Path, seconds: float, steps: int, rounds: int, only: Sequence[str] = WHAT) -> dict[str, Any]:
    ours, pipe = Ours(folder, seconds), peer_of(folder)
    noise = torch.randn(1, ours.frames, ours.dim, generator=torch.Generator().manual_seed(1))
    audio = 0.1 * torch.randn(2, ours.frames * pipe.vae.hop_length, generator=torch.Generator().manual_seed(2))
    source = ours.pool.encode(audio.unsqueeze(0))[0]
    pipe.prepare_src_latents = _fixed_source(pipe, source)  # same source latents, and no autoencoder in either timing
    rows: dict[str, Any] = {}

    def row(name: str, a: Any, b: Any) -> None:
        if name.split()[0] not in only:
            return
        mine, their, ratio = alternate(a, b, rounds)
        rows[name] = {"ours_s": round(mine, 3), "diffusers_s": round(their, 3), "times_faster": round(ratio, 3)}

    for label, scale in (("guided", 7.0), ("unguided", 1.0)):
        row(f"text2music {label}", lambda s=scale: ours.text2music(noise, steps, s),
            lambda s=scale: theirs(pipe, seconds, noise, steps, s))
        row(f"cover 0.5 {label}", lambda s=scale: ours.cover(noise, source, steps, s, 0.5),
            lambda s=scale: theirs(pipe, seconds, noise, steps, s, task_type="cover", src_audio=audio, audio_cover_strength=0.5))
    if "loop" not in only:
        return rows
    a = ours.text2music(noise, steps, 7.0)
    b = theirs(pipe, seconds, noise, steps, 7.0)
    rows["largest difference, guided text2music, relative"] = float((a - b).abs().max() / b.abs().max())
    bare, loop, ratio = alternate(lambda: ours.bare(noise, steps), lambda: ours.text2music(noise, steps, 1.0), rounds)
    rows["loop over bare forwards"] = {"bare_s": round(bare, 3), "loop_s": round(loop, 3), "ratio": round(ratio, 4)}
    return rows


def _fixed_source(pipe: Any, source: torch.Tensor) -> Any:
    original = pipe.prepare_src_latents

    def prepare(*args: Any, src_audio: torch.Tensor | None = None, task_type: str = "text2music", **rest: Any) -> Any:
        if src_audio is None:
            return original(*args, src_audio=None, task_type=task_type, **rest)
        quantized, _ = pipe.audio_tokenizer.tokenize(source.unsqueeze(0), pipe.condition_encoder.silence_latent)
        return pipe.audio_token_detokenizer(quantized)[:, : source.shape[0]].contiguous(), source.shape[0]

    return prepare


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--parameters", type=int, default=98_000_000)
    parser.add_argument("--seconds", type=float, nargs="+", default=[8.0, 60.0])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--only", nargs="+", choices=WHAT, default=WHAT, help="fewer rows")
    parser.add_argument("--mini", action="store_true", help="the embedded model's base in place of a random checkpoint")
    args = parser.parse_args()
    result: dict[str, Any] = {"steps": args.steps}
    if args.mini:
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            (base,) = export_model("segue-mini", Path(folder) / "mini", "base")
            for seconds in args.seconds:
                result[f"segue-mini, {seconds:g} s"] = compare(base, seconds, args.steps, args.rounds, args.only)
        report(result, args.out)
        return
    with random_checkpoint(args.parameters) as folder, torch.inference_mode():
        pipe = peer_of(folder)
        result["transformer_parameters"] = parameters_of(pipe.transformer)
        result["transformer"] = dataclasses.asdict(_size(args.parameters))
        del pipe
        for seconds in args.seconds:
            result[f"{seconds:g} s"] = compare(folder, seconds, args.steps, args.rounds, args.only)
    report(result, args.out)


def _size(parameters: int) -> Any:
    from segue.pipeline.models.tiny import size_for

    return size_for(parameters)


if __name__ == "__main__":
    main()
