"""The executor on the embedded model: sameness, sharing, counts, passing by, cancelling. Short takes, few steps."""

import json
from pathlib import Path

import pytest
import torch
from segue import Pipeline, Prompt
from segue.pipeline.errors import Cancelled, RequestError, RunError
from segue.pipeline.events import CancelToken, FileWritten, StageStarted, StepDone
from segue.pipeline.executor import resume
from segue.pipeline.options import RunOptions
from segue.presets.loader import load
from segue.stages import Cover, Degrade, Generate, Lego, Mix, Refine, Repaint, Save, Score, Select

SECOND = Prompt(caption="slow piano, soft pads", bpm=80, instrumental=True, duration_s=1)


def ladder(**changes) -> Pipeline:
    stages = {
        "draft": Generate(variant="base", steps=2, guidance={"kind": "none"}),
        "polish": Refine(source="draft", variant="turbo", denoise=0.5),
        "scored": Score(source="polish"),
    }
    return Pipeline(prompt=SECOND, seed=11, stages=stages, **changes)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_second_run_computes_nothing_and_writes_the_same_bytes(home, tmp_path):
    first = ladder(takes=2).run(tmp_path / "a", home=home)
    again = ladder(takes=2).run(tmp_path / "b", home=home)
    assert first.counts["forwards"] > 0 and again.counts == dict.fromkeys(first.counts, 0)
    assert [s.cached for s in again.stages] == [2, 2, 2]
    fresh = ladder(takes=2).run(tmp_path / "c", home=tmp_path / "elsewhere")
    for name in ("scored-00.flac", "scored-01.flac"):
        data = (tmp_path / "a/audio" / name).read_bytes()
        assert data == (tmp_path / "b/audio" / name).read_bytes() == (tmp_path / "c/audio" / name).read_bytes()
    assert first.document()["takes"][0]["report"] == fresh.document()["takes"][0]["report"]


def test_a_take_alone_is_the_take_in_company(home, tmp_path):
    alone = ladder(takes=1).run(home=home)
    company = ladder(takes=3).run(home=tmp_path / "other")
    for stage in ("draft", "polish"):
        assert torch.equal(alone[stage][0].audio.samples, company[stage][0].audio.samples)
    assert len({t.seed for t in company["draft"]}) == 3


def test_micro_batches_agree_to_a_ten_thousandth(home, tmp_path):
    single = ladder(takes=3).run(home=home)
    batched = ladder(takes=3).run(home=tmp_path / "other", options=RunOptions(micro_batch=3))
    for a, b in zip(single["polish"], batched["polish"], strict=True):
        x, y = a.signal.latent().frames, b.signal.latent().frames
        assert float((x - y).abs().max()) <= 1e-4 * float(x.abs().max())


def test_changing_the_last_stage_recomputes_it_alone(home):
    ladder(takes=2).run(home=home)
    stages = {**ladder().stages, "polish": Refine(source="draft", variant="turbo", denoise=0.4)}
    run = Pipeline(prompt=SECOND, seed=11, takes=2, stages=stages).run(home=home)
    assert [s.cached for s in run.stages] == [2, 0, 0]


def test_sharing_shows_in_the_counts(home):
    run = ladder(takes=4).run(home=home)
    assert run.counts["text_encodes"] == 1          # one caption, one instruction, four takes, two variants
    assert run.counts["audio_encodes"] == 0         # the latent goes straight across
    assert run.counts["audio_decodes"] == 4         # the scored stage alone was asked for audio
    assert run.counts["model_swaps"] == 1


def test_forwards_are_rows_through_the_decoder_per_take(home, clip):
    def of(**fields):
        stages = {"c": Cover(source="clip", variant="turbo", steps=6, **fields)}
        return Pipeline(prompt=SECOND, seed=1, inputs={"clip": str(clip)}, stages=stages).run(home=home).stages[0].forwards

    assert {of(strength=s) for s in (1.0, 0.5, 0.0)} == {6}
    guided = Generate(variant="base", steps=3, guidance={"kind": "cfg", "scale": 4})
    assert Pipeline(prompt=SECOND, seed=1, stages={"g": guided}).run(home=home).stages[0].forwards == 6
    half = Generate(variant="base", steps=4, guidance={"kind": "cfg", "scale": 4, "interval": (0.6, 1.0)})
    assert Pipeline(prompt=SECOND, seed=1, stages={"g": half}).run(home=home).stages[0].forwards == 6  # t = 1, .75 | .5, .25


def test_denoise_0_gives_the_source_back(home):
    stages = {"draft": Generate(steps=2), "same": Refine(source="draft", denoise=0.0)}
    run = Pipeline(prompt=SECOND, seed=3, stages=stages).run(home=home)
    assert torch.equal(run["draft"][0].audio.samples, run["same"][0].audio.samples)
    assert run.stages[1].forwards == 0


@pytest.mark.parametrize("how", [
    {"variant": "turbo", "steps": 6},
    {"variant": "base", "steps": 6, "guidance": {"kind": "apg", "scale": 4}},
    {"variant": "turbo", "steps": 6, "solver": "dpmpp"},
    {"variant": "turbo", "steps": 6, "solver": "sde"},
])
def test_a_checkpoint_goes_on_without_renoising(home, how):
    """Fault 5: generating 2 of 6 steps and going on is generating 6, to the bit, also where guidance or solver remember."""
    whole = Pipeline(prompt=SECOND, seed=3, stages={"draft": Generate(seed=5, **how)}).run(home=home)
    parts = {"half": Generate(seed=5, stop_at=2, **how), "rest": Refine(source="half", seed=5, **how)}
    run = Pipeline(prompt=SECOND, seed=3, stages=parts).run(home=home)
    again = Pipeline(prompt=SECOND, seed=3, stages={**parts, "more": Score(source="rest")}).run(home=home)
    for done in (run, again):  # fresh, and with the checkpoint read back from the store
        assert torch.equal(whole["draft"][0].signal.latent().frames, done["rest"][0].signal.latent().frames)
    assert [s.steps_run for s in run.stages] == [2, 4]


def test_when_lets_takes_pass_by_unchanged(home):
    stages = {
        "draft": Generate(steps=2), "judged": Score(source="draft"),
        "never": Refine(source="judged", when="judged.overall > 10"),
        "always": Refine(source="judged", when="judged.overall <= 10 and prompt.bpm == 80"),
    }
    run = Pipeline(prompt=SECOND, seed=3, takes=2, stages=stages).run(home=home)
    assert torch.equal(run["never"][1].audio.samples, run["draft"][1].audio.samples)
    assert run["never"][0].report is not None and run["always"][0].report is None
    assert not torch.equal(run["always"][0].audio.samples, run["draft"][0].audio.samples)


def test_when_on_a_field_that_is_missing_is_an_error(home):
    stages = {"draft": Generate(steps=2), "judged": Score(source="draft"), "r": Refine(source="judged", when="judged.lsd < 3")}
    with pytest.raises((RunError, RequestError), match="lsd"):
        Pipeline(prompt=SECOND, seed=3, stages=stages).run(home=home)


def test_select_keeps_the_number_and_the_seed_of_what_it_chose(home):
    stages = {
        "draft": Generate(steps=2), "judged": Score(source="draft"), "best": Select(source="judged", keep=1),
        "polish": Refine(source="best", denoise=0.3),
    }
    run = Pipeline(prompt=SECOND, seed=3, takes=3, stages=stages).run(home=home)
    best = max(run["judged"], key=lambda t: (t.report.overall, -t.index))
    assert run["best"][0].index == best.index == run["polish"][0].index
    assert run["best"][0].seed == run["draft"][best.index].seed


def test_prompts_travel_with_takes_and_overrides_stay_on(home):
    stages = {
        "one": Generate(steps=1, prompt=Prompt(caption="drums")), "two": Refine(source="one", prompt=Prompt(caption="")),
        "three": Refine(source="two", prompt=Prompt(bpm=99)),
    }
    run = Pipeline(prompt=SECOND, seed=3, stages=stages).run(home=home)
    assert [run[n][0].prompt.caption for n in stages] == ["drums", "", ""]
    assert run["three"][0].prompt.bpm == 99 and run["three"][0].prompt.duration_s == 1


def test_repaint_leaves_every_sample_outside_alone(home, clip):
    stages = {"r": Repaint(source="clip", windows=((0.5, 1.0), (1.5, 3.0)), steps=2)}
    run = Pipeline(prompt=SECOND, seed=3, inputs={"clip": str(clip)}, stages=stages).run(home=home)
    source, made = run.inputs["clip"].audio, run["r"][0].audio
    rate = source.rate_hz
    assert made.rate_hz == rate and made.samples.shape[-1] == 3 * rate  # the last window passes the end: it grew
    for a, b in ((0, 0.5), (1.0, 1.5)):
        assert torch.equal(made.samples[:, int(a * rate) : int(b * rate)], source.samples[:, int(a * rate) : int(b * rate)])
    assert not torch.equal(made.samples[:, rate // 2 : rate], source.samples[:, rate // 2 : rate])


def test_lego_with_its_source_is_source_plus_stem(home, clip):
    stages = {
        "alone": Lego(source="clip", track="bass", steps=2, seed=9),
        "both": Lego(source="clip", track="bass", steps=2, seed=9, keep_source=True), "mixed": Mix(sources=("clip", "alone")),
    }
    run = Pipeline(prompt=SECOND, seed=3, inputs={"clip": str(clip)}, stages=stages).run(home=home)
    assert torch.allclose(run["both"][0].audio.samples, run["mixed"][0].audio.samples, atol=1e-6)


def test_takes_fan_out_after_a_degrade(home, clip):
    stages = {
        "worse": Degrade(source="clip", bit_depth=6), "r": Refine(source="worse", denoise=0.3, steps=2), "s": Score(source="r"),
    }
    run = Pipeline(prompt=SECOND, seed=3, takes=3, inputs={"clip": str(clip)}, stages=stages).run(home=home)
    assert [len(run[n]) for n in stages] == [1, 3, 3]
    assert run.counts["audio_encodes"] == 1  # fault 14: the shared source is encoded once
    assert len({t.group for t in run["s"]}) == 1


def test_files_are_written_as_soon_as_a_stage_is_done(home, tmp_path):
    """Fault 13."""
    events = []
    stages = {"one": Generate(steps=1), "two": Refine(source="one", steps=2)}
    pipeline = Pipeline(prompt=SECOND, seed=3, stages=stages, outputs=("one", "two"))
    pipeline.run(tmp_path / "out", home=home, on_event=events.append)
    written = next(i for i, e in enumerate(events) if isinstance(e, FileWritten) and e.stage == "one")
    begun = next(i for i, e in enumerate(events) if isinstance(e, StageStarted) and e.stage == "two")
    assert written < begun


def test_cancel_stops_at_the_next_step_and_resume_makes_the_same_bytes(home, tmp_path):
    """Fault 16, and resume = uninterrupted."""
    whole = ladder(takes=2).run(tmp_path / "whole", home=tmp_path / "other")
    token, seen = CancelToken(), []

    def listen(event):
        if isinstance(event, StepDone):
            seen.append(event)
            if event.stage == "polish":
                token.cancel()

    with pytest.raises(Cancelled, match="segue runs resume") as stopped:
        ladder(takes=2).run(tmp_path / "cut", home=home, on_event=listen, cancel=token)
    assert sum(e.stage == "polish" for e in seen) == 1
    run_id = str(stopped.value).split()[-1]
    run = resume(run_id, load=load, home=home)
    assert run.stages[0].cached == 2
    for path in (tmp_path / "whole/audio").iterdir():
        assert path.read_bytes() == (tmp_path / "cut/audio" / path.name).read_bytes()
    assert run.document()["takes"][0]["report"] == whole.document()["takes"][0]["report"]


def test_out_of_memory_halves_the_micro_batch_and_marks_the_takes(home, monkeypatch):
    plain = Generate.run

    def hungry(self, jobs, ctx):
        if len(jobs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return plain(self, jobs, ctx)

    monkeypatch.setattr(Generate, "run", hungry)
    stages = {"draft": Generate(steps=1)}
    run = Pipeline(prompt=SECOND, seed=3, takes=5, stages=stages).run(home=home, options=RunOptions(micro_batch=4))
    assert [t.lineage[-1]["retried_micro_batch"] for t in run["draft"]] == [2, 2, 2, 2, 1]
    assert any("out of memory" in w for w in run.warnings)


def test_a_corrupted_entry_is_found_and_made_again(home):
    first = ladder().run(home=home)
    for path in (home / "store").rglob("*.latent.*.safetensors"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 255
        path.write_bytes(bytes(data))
    again = ladder().run(home=home)
    assert torch.equal(first["polish"][0].audio.samples, again["polish"][0].audio.samples)
    assert any("damaged" in w for w in again.warnings)


def test_the_document_is_what_was_promised(home, tmp_path):
    run = ladder(takes=2).run(tmp_path / "out", home=home)
    document = json.loads((tmp_path / "out/run.json").read_text())
    assert {"run_id", "preset", "out", "counts", "stages", "takes", "pairs"} <= set(document)
    assert set(document["stages"][0]) >= {"name", "type", "variant", "seconds", "cached", "takes", "steps_run", "forwards"}
    assert set(document["takes"][0]) == {"id", "stage", "seed", "audio", "duration_s", "prompt", "report"}
    assert document["counts"] == run.document()["counts"]
    pairs = [json.loads(line) for line in (tmp_path / "out/pairs.jsonl").read_text().splitlines()]
    assert len(pairs) == document["pairs"] == run.pairs
    assert len((tmp_path / "out/groups.jsonl").read_text().splitlines()) == 1


def test_a_random_seed_is_recorded_as_it_was(home):
    """Fault 4: never -1."""
    pipeline = Pipeline(prompt=SECOND, stages={"draft": Generate(steps=1)})
    a, b = pipeline.run(home=home), pipeline.run(home=home)
    assert a.seed != b.seed and a.seed >= 0
    again = pipeline.run(home=home, seed=a.seed)
    assert again.counts["forwards"] == 0 and torch.equal(a["draft"][0].audio.samples, again["draft"][0].audio.samples)


def test_an_input_nobody_named_is_a_request_error(home):
    with pytest.raises(RequestError, match="no input 'song'"):
        ladder().run(home=home, inputs={"song": "x.wav"})


def test_text_over_the_limit_is_cut_with_a_warning(home):
    long = SECOND.model_copy(update={"caption": "bright piano and warm strings " * 120})
    run = Pipeline(prompt=long, seed=3, stages={"draft": Generate(steps=1)}).run(home=home)
    assert any("tokens" in w and "cut off" in w for w in run.warnings)


def test_multi_guidance_needs_a_source_that_is_shown(home):
    with pytest.raises(RequestError, match=r"guidance 'multi' weighs what a model is shown .* generate shows .* nothing"):
        Pipeline(prompt=SECOND, stages={"draft": Generate(guidance={"kind": "multi"})}).run(home=home)


def test_what_a_save_stage_wrote_is_not_written_twice(home, tmp_path):
    stages = {"draft": Generate(steps=1), "kept": Save(source="draft", format="wav")}
    run = Pipeline(prompt=SECOND, seed=3, takes=2, stages=stages).run(tmp_path / "out", home=home)
    sounds = [f for f in run.files if f.suffix in (".wav", ".flac")]
    assert len(sounds) == 2 and all(f.suffix == ".wav" and f.exists() for f in sounds)
    assert run.document()["takes"][0]["audio"] == str(sounds[0])


def test_two_runs_into_one_folder_keep_each_others_files(home, tmp_path):
    one = ladder(takes=2).run(tmp_path / "out", home=home)
    two = ladder(takes=2).run(tmp_path / "out", home=home, seed=12)
    groups = [json.loads(line) for line in (tmp_path / "out/groups.jsonl").read_text().splitlines()]
    named = {entry["audio_path"] for group in groups for entry in group["entries"]}
    assert len(named) == 4 and all((tmp_path / "out" / name).exists() for name in named)
    assert one.pairs == two.pairs == 1


def test_resume_refuses_other_weights(home, tmp_path, monkeypatch):
    from segue.pipeline import executor

    run = ladder().run(tmp_path / "out", home=home)
    plain = executor.weights_of
    monkeypatch.setattr(executor, "weights_of", lambda prepared: {name: mark + "x" for name, mark in plain(prepared).items()})
    with pytest.raises(RequestError, match="weights"):
        resume(run.id, load=load, home=home)


def test_latents_mix_whichever_views_happen_to_be_there(home):
    def of(**gains):
        made = {"a": Generate(steps=1), "b": Lego(source="a", track="bass", steps=1, keep_source=True), "c": Score(source="b")}
        stages = {**made, "m": Mix(sources=("b", "c"), domain="latent", normalize="sum", **gains)}
        return Pipeline(prompt=SECOND, seed=3, stages=stages).run(home=home)

    of()
    changed = of(gains_db=(0.0, -6.0))  # the sum's latent was encoded in the run before, and is not in sight now
    assert changed["m"][0].signal.has_latent()
