"""Faults of existing executors, by number, at the level of whole runs (see docs/faults.md)."""

import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from segue import Pipeline, Prompt
from segue.pipeline.context import Numerics
from segue.pipeline.errors import Cancelled, RequestError, SegueError
from segue.pipeline.events import CancelToken, FileWritten, StageStarted, StepDone
from segue.pipeline.models.acestep import AceStepModel
from segue.pipeline.models.base import ConditionRequest
from segue.pipeline.models.pool import Pool
from segue.pipeline.models.resolve import describe_model
from segue.pipeline.session import Counts
from segue.stages import Cover, Extract, Generate, Refine, Repaint
from segue.stages.denoise import schedule_of

SECOND = Prompt(caption="slow piano", instrumental=True, duration_s=1)


def run(stages, home, **rest):
    return Pipeline(prompt=SECOND, seed=rest.pop("seed", 4), stages=stages, **rest).run(home=home)


@pytest.mark.parametrize("denoise", [0.25, 0.6])
@pytest.mark.parametrize("policy", ["truncate", "respace", "snap"])
def test_fault_01_a_partial_schedule_starts_at_the_level_the_latent_has(tmp_path, denoise, policy):
    stages = {"a": Generate(steps=2), "b": Refine(source="a", denoise=denoise, t_start_policy=policy)}
    done = run(stages, tmp_path)
    step = done["b"][0].lineage[-1]
    assert step["t_start"] == step["timesteps"][0]
    assert len(step["timesteps"]) == done.stages[1].steps_run < 9
    if policy != "snap":
        assert step["t_start"] == denoise


def test_fault_03_refine_follows_the_seed_and_nothing_else(tmp_path):
    stages = {"a": Generate(steps=2), "b": Refine(source="a", denoise=0.6)}
    torch.manual_seed(1)
    one = run(stages, tmp_path / "1")
    torch.manual_seed(2)
    two = run(stages, tmp_path / "2")
    other = run(stages, tmp_path / "3", seed=5)
    assert torch.equal(one["b"][0].audio.samples, two["b"][0].audio.samples)
    assert not torch.equal(one["b"][0].audio.samples, other["b"][0].audio.samples)


def test_fault_04_every_take_has_a_seed_of_its_own_and_it_is_recorded(tmp_path):
    done = run({"a": Generate(steps=1)}, tmp_path, takes=3)
    assert len({t.seed for t in done["a"]}) == 3 and all(t.seed >= 0 for t in done["a"])
    fixed = run({"a": Generate(steps=1, seed=9)}, tmp_path, takes=2)
    assert fixed["a"][0].seed == 9 != fixed["a"][1].seed


def test_fault_06_refine_sees_a_context_as_long_as_its_source(tmp_path, monkeypatch):
    seen = []
    plain = AceStepModel.conditions

    def spy(self, requests):
        made = plain(self, requests)
        seen.append((requests[0].frames, made.context.shape[1]))
        return made

    monkeypatch.setattr(AceStepModel, "conditions", spy)
    run({"a": Generate(steps=1, prompt=Prompt(duration_s=1.52)), "b": Refine(source="a", prompt=Prompt(duration_s=30))}, tmp_path)
    assert seen == [(38, 38), (38, 38)]


def test_fault_07_repaint_without_an_end_is_refused():
    with pytest.raises(ValidationError, match="not guessed"):
        Repaint(source="clip", start_s=1.0)
    with pytest.raises(ValidationError, match="needs a window"):
        Repaint(source="clip")


def test_fault_08_a_source_that_is_not_there_is_an_error_never_text2music(tmp_path):
    with pytest.raises(RequestError, match="drafty"):
        run({"draft": Generate(steps=1), "b": Cover(source="drafty")}, tmp_path)


def test_fault_09_every_take_is_its_own_source_without_a_round_trip(tmp_path):
    stages = {"a": Generate(steps=2), "b": Cover(source="a", steps=2), "c": Extract(source="b", track="drums", steps=2)}
    done = run(stages, tmp_path, takes=2)
    assert done.counts["audio_encodes"] == 0 and done.counts["audio_decodes"] == 0
    alone = run({"a": Generate(steps=2), "b": Cover(source="a", steps=2)}, tmp_path / "x", takes=1)
    assert torch.equal(alone["b"][0].signal.latent().frames, done["b"][0].signal.latent().frames)
    assert not torch.equal(done["b"][0].signal.latent().frames, done["b"][1].signal.latent().frames)


def test_fault_12_the_old_variant_stays_until_the_new_one_is_known_to_load(tmp_path):
    embedded = describe_model("segue-mini").files("base").parts["transformer"].parents[1]
    folder = shutil.copytree(embedded, tmp_path / "mini")
    pool = Pool(describe_model(str(folder)), Numerics(), Counts())
    model = pool.model("base")
    weights = folder / "turbo" / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(SegueError):
        pool.model("turbo")
    assert pool.model("base") is model
    denoiser = model.denoiser()
    denoiser.switch(model.conditions([ConditionRequest(SECOND, "Fill:", 25)]))
    assert denoiser.velocity(torch.zeros(1, 25, model.info.latent_dim), 0.5, ("cond",))[0].isfinite().all()


def test_fault_13_audio_of_a_stage_is_written_before_the_next_begins(tmp_path):
    events = []
    stages = {"one": Generate(steps=1), "two": Refine(source="one", steps=2)}
    Pipeline(prompt=SECOND, seed=3, stages=stages, outputs=("one", "two")).run(
        tmp_path / "out", home=tmp_path / "home", on_event=events.append)
    written = next(i for i, e in enumerate(events) if isinstance(e, FileWritten) and e.stage == "one")
    begun = next(i for i, e in enumerate(events) if isinstance(e, StageStarted) and e.stage == "two")
    assert written < begun and Path(events[written].path).stat().st_size > 1000


def test_fault_14_a_shared_source_is_encoded_once(tmp_path, clip):
    stages = {"a": Cover(source="clip", steps=1, strength=0.5), "b": Extract(source="clip", track="bass", steps=1)}
    done = run(stages, tmp_path, takes=3, inputs={"clip": str(clip)})
    assert done.counts["audio_encodes"] == 1
    assert done.counts["text_encodes"] == 3  # cover, its later segment, extract; not once a take


def test_fault_15_a_take_does_not_hear_its_neighbours_padding():
    pool = Pool(describe_model("segue-mini"), Numerics(), Counts())
    model = pool.model("turbo")
    captions = ("x", "a long caption " * 9)
    short, long = (ConditionRequest(SECOND.model_copy(update={"caption": c}), "Fill:", 25) for c in captions)
    x = torch.randn(2, 25, model.info.latent_dim, generator=torch.Generator().manual_seed(1))

    def velocity(requests, rows):
        denoiser = model.denoiser()
        denoiser.switch(model.conditions(requests))
        return denoiser.velocity(rows, 0.7, ("cond",))[0]

    together, alone = velocity([short, long], x), velocity([short], x[:1])
    assert float((together[:1] - alone).abs().max()) < 1e-5 * float(alone.abs().max())


def test_fault_16_a_run_reports_every_step_and_stops_at_the_next(tmp_path):
    token, steps = CancelToken(), []

    def listen(event):
        if isinstance(event, StepDone):
            steps.append((event.step, event.steps))
            if event.step == 2:
                token.cancel()

    with pytest.raises(Cancelled):
        Pipeline(prompt=SECOND, seed=1, stages={"a": Generate(steps=5)}).run(home=tmp_path, on_event=listen, cancel=token)
    assert steps == [(1, 5), (2, 5)]


@pytest.mark.parametrize("variant", ["base", "sft", "turbo"])
def test_fault_17_custom_timesteps_are_followed_by_every_variant(tmp_path, variant):
    stage = Generate(variant=variant, timesteps=(1.0, 0.7, 0.2))
    done = run({"a": stage}, tmp_path)
    assert done["a"][0].lineage[-1]["timesteps"] == [1.0, 0.7, 0.2] and done.stages[0].steps_run == 3
    known = {"schedule": "custom", "steps": 3, "shift": 1.0, "t_start_policy": "truncate"}
    assert schedule_of(stage.model_copy(update=known)) == (1.0, 0.7, 0.2)
