"""What of the prompt is in a key: what the stage reads. And the prompt a take carries is the present one, cached or not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from segue import Pipeline, Prompt
from segue.pipeline.catalog import Catalog
from segue.pipeline.context import Context, Job, Result
from segue.pipeline.spec import Name, Stage
from segue.pipeline.take import Audio, Signal, Take
from segue.stages import STAGES, Caption, Cover, Degrade, Generate, Mix, Refine, Score

QUICK: dict[str, Any] = {"steps": 1, "guidance": {"kind": "none"}}
FULL = Prompt(
    caption="a", lyrics="b", instrumental=False, vocal_language="en", bpm=90, keyscale="C major", timesignature="4", duration_s=2
)


class Shout(Stage):
    """A stage of somebody's own, which reads the prompt and says nothing of it."""

    type: Literal["shout"] = "shout"
    source: Name

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        return [Result(audio=Audio(torch.full((1, 8), float(len(job.prompt.caption or ""))), 8000)) for job in jobs]


def test_what_each_stage_type_reads() -> None:
    every = set(FULL.facts())
    reads = {name: set(cls.reads_prompt) for name, cls in STAGES.items() if cls is not Caption}
    assert {name for name, fields in reads.items() if not fields} == {"degrade", "mix", "save", "separate", "wiener"}
    assert reads["score"] == {"bpm", "keyscale"}  # what a key and a tempo can be wrong against
    assert reads["generate"] == every and Shout.reads_prompt == every  # who does not say, reads all
    assert all(reads[name] == every - {"duration_s"} for name in ("refine", "cover", "repaint", "extract", "super_resolve"))
    assert "duration_s" in Cover(audio_codes="<|audio_code_1|>").prompt_facts(FULL)
    assert "duration_s" not in Cover(source="clip").prompt_facts(FULL)


@pytest.mark.parametrize("stage", [Degrade(source="x", bit_depth=6), Mix(sources=("x", "y"))])
def test_who_says_so_does_not_look_at_the_prompt(stage: Stage) -> None:
    class Surroundings:
        stage = "s"

        def audio(self, take: Take, rate_hz: int | None = None, channels: int | None = None) -> Audio:
            return take.audio

    blank: Any = object()  # has none of a prompt's fields
    take = Take("x", 0, 0, blank, "k", Signal(Audio(torch.randn(1, 9600) * 0.1, 48_000)))
    surroundings: Any = Surroundings()
    assert len(stage.run([Job(0, 1, blank, dict.fromkeys(stage.references(), take), "k")], surroundings)) == 1


def graph(caption: str, clip: Path, model: str) -> Pipeline:
    stages: dict[str, Stage] = {
        "worse": Degrade(source="clip", bit_depth=6), "judged": Score(source="worse"), "loud": Shout(source="worse"),
        "draft": Generate(prompt=Prompt(duration_s=1), **QUICK), "new": Refine(source="worse", **QUICK),
        "scored": Score(source="new"),
    }
    return Pipeline(
        model=model, prompt=Prompt(caption=caption, instrumental=True), seed=4, takes=2, inputs={"clip": str(clip)}, stages=stages
    )


def test_another_caption_makes_anew_only_what_hears_it(tmp_path: Path, clip: Path, tiny_model: str) -> None:
    home = tmp_path / "home"
    first = graph("a slow piano", clip, tiny_model).run(tmp_path / "one", home=home)
    again = graph("a fast drum", clip, tiny_model).run(tmp_path / "two", home=home)
    assert {s.name: s.cached for s in again.stages} == {"worse": 1, "judged": 1, "loud": 0, "draft": 0, "new": 0, "scored": 0}
    assert torch.equal(first["worse"][0].audio.samples, again["worse"][0].audio.samples)
    assert not torch.equal(first["new"][0].signal.latent().frames, again["new"][0].signal.latent().frames)
    ids = []
    for run, caption in ((first, "a slow piano"), (again, "a fast drum")):
        assert {take.prompt.caption for name in run.takes for take in run[name]} == {caption}
        with Catalog(home / "catalog.sqlite3") as catalog:
            assert {take.prompt["caption"] for take in catalog.takes(run.id)} == {caption}
        assert run.out is not None
        groups = [json.loads(line) for line in (run.out / "groups.jsonl").read_text().splitlines()]
        assert [group["prompt"]["caption"] for group in groups] == [caption, caption]  # of 'judged' and of 'scored'
        ids += [group["id"] for group in groups]
    assert len(set(ids)) == 4


def test_what_a_caption_stage_hears_is_kept_and_the_rest_is_the_takes_own(tmp_path: Path, clip: Path) -> None:
    def run(caption: str | None) -> Any:
        stages = {"heard": Caption(source="clip", fields=("caption", "duration_s"))}
        prompt = Prompt(caption=caption, lyrics="la")
        return Pipeline(prompt=prompt, seed=4, inputs={"clip": str(clip)}, stages=stages).run(home=tmp_path / "home")

    one, two, none = run("one"), run("two"), run(None)
    assert [r.stages[0].cached for r in (one, two, none)] == [0, 1, 0]  # without a caption there is one more to fill in
    assert [r["heard"][0].prompt.caption for r in (one, two)] == ["one", "two"]
    assert none["heard"][0].prompt.caption not in (None, "one", "two")
    assert {r["heard"][0].prompt.duration_s for r in (one, two, none)} == {2.0}


def test_a_length_nobody_reads_is_in_no_key(tmp_path: Path, clip: Path, tiny_model: str) -> None:
    def run(seconds: float) -> Any:
        stages = {"new": Refine(source="clip", **QUICK), "draft": Generate(**QUICK)}
        given: Any = {"model": tiny_model, "seed": 4, "inputs": {"clip": str(clip)}, "stages": stages}
        return Pipeline(prompt=Prompt(duration_s=seconds), **given).run(home=tmp_path / "home")

    run(1)
    again = run(1.5)
    assert [s.cached for s in again.stages] == [1, 0] and again["new"][0].prompt.duration_s == 1.5
