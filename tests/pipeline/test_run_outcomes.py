"""What is left after a run, and what is refused before one: tensors, weights, catalog, files that decide bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from segue import Pipeline, Prompt
from segue.pipeline.audio_file import write_audio
from segue.pipeline.catalog import Catalog
from segue.pipeline.context import Context, Job, Numerics, Result
from segue.pipeline.errors import Cancelled, RequestError, RunError
from segue.pipeline.events import CancelToken, StageStarted
from segue.pipeline.executor import resume
from segue.pipeline.jobs import plan_jobs
from segue.pipeline.spec import Name, Stage
from segue.pipeline.take import Audio, Signal, Take
from segue.presets.loader import load
from segue.stages import Cover, Degrade, Generate, Mix, Refine, Save, Score

SECOND = Prompt(caption="slow piano", instrumental=True, duration_s=1)


class Louder(Stage):
    """Multiplies by the number in a file."""

    type: Literal["louder"] = "louder"
    source: Name
    factor: str

    def weight_paths(self) -> tuple[str, ...]:
        return (self.factor,)

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        by = float(ctx.path(self.factor).read_text())
        return [Result(audio=Audio(ctx.audio(job.source).samples * by, ctx.audio(job.source).rate_hz)) for job in jobs]


class Hungry(Stage):
    type: Literal["hungry"] = "hungry"
    source: Name

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        raise MemoryError("no room")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_audio(tmp_path / "clip.wav", Audio(0.1 * torch.sin(torch.arange(8000) / 20)[None], 8000)).path


def test_takes_hold_ordinary_tensors_and_no_weights(home: Path) -> None:
    """An inference tensor can't be changed in place; weights would be held by every run somebody keeps."""
    stages = {"draft": Generate(steps=1), "scored": Score(source="draft"), "other": Generate(steps=1, seed=5)}
    run = Pipeline(prompt=SECOND, seed=3, stages=stages).run(home=home)
    assert not run["draft"][0].signal.latent().frames.is_inference()
    for name in ("scored", "other"):  # decoded within the run, and only now
        samples = run[name][0].audio.samples
        samples *= 0.5
        assert not samples.is_inference()
    with Catalog(home / "catalog.sqlite3") as catalog:
        assert [t.cached for t in catalog.takes(run.id)] == [False] * 3


def test_the_pool_is_empty_after_a_run(home: Path) -> None:
    run = Pipeline(prompt=SECOND, seed=3, stages={"draft": Generate(steps=1)}).run(home=home)
    pool = run["draft"][0].signal._views._session.pool
    assert not pool._transformers and not pool._shared


def test_the_catalog_keeps_which_takes_came_from_the_store(home: Path, clip: Path) -> None:
    pipe = Pipeline(seed=3, inputs={"clip": str(clip)}, stages={"worse": Degrade(source="clip", clip_db=3)})
    pipe.run(home=home)
    again = pipe.run(home=home)
    with Catalog(home / "catalog.sqlite3") as catalog:
        assert [t.cached for t in catalog.takes(again.id)] == [True]


def test_the_content_of_files_a_stage_names_is_part_of_the_key(home: Path, clip: Path, tmp_path: Path) -> None:
    factor = tmp_path / "factor.txt"
    pipe = Pipeline(seed=3, inputs={"clip": str(clip)}, stages={"louder": Louder(source="clip", factor=str(factor))})
    peaks = []
    for text in ("2.0", "3.00", "2.0"):
        factor.write_text(text)
        run = pipe.run(home=home)
        peaks.append((round(float(run["louder"][0].audio.samples.max()), 3), run.stages[0].cached))
    assert peaks == [(0.2, 0), (0.3, 0), (0.2, 1)]


def test_a_single_take_out_of_memory_is_told_with_what_helps(home: Path, clip: Path) -> None:
    with pytest.raises(RunError, match=r"stage 'big': out of memory with a single take .*--cpu-offload"):
        Pipeline(seed=3, inputs={"clip": str(clip)}, stages={"big": Hungry(source="clip")}).run(home=home)


def test_a_changed_input_is_refused_on_resume(home: Path, clip: Path) -> None:
    cancel, seen = CancelToken(), []

    def listen(event: Any) -> None:
        if isinstance(event, StageStarted):
            seen.append(event)
            cancel.cancel()

    pipe = Pipeline(seed=3, inputs={"clip": str(clip)}, stages={"worse": Degrade(source="clip", clip_db=3)})
    with pytest.raises(Cancelled):
        pipe.run(home=home, on_event=listen, cancel=cancel)
    with Catalog(home / "catalog.sqlite3") as catalog:
        (record,) = catalog.runs()
    before = clip.read_bytes()
    write_audio(clip, Audio(torch.zeros(1, 8000), 8000))
    with pytest.raises(RequestError, match="'clip' is another sound than when"):
        resume(record.id, load=load, home=home)
    clip.write_bytes(before)
    assert len(resume(record.id, load=load, home=home)["worse"]) == 1


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ({"draft": Generate(steps=1), "kept": Save(source="draft")}, r"kept.*has no folder"),
        ({"draft": Generate(variant="turbo", stop_at=8), "done": Refine(source="draft")}, "stop_at 8 is not before the last"),
        ({"draft": Generate(stop_at=2), "cover": Cover(source="draft")}, "cover would take for sound"),
        ({"draft": Generate(variant="base", schedule="turbo", steps=30)}, "turbo table holds 1 to 20 steps"),
        ({"draft": Generate(adapters=({"path": "."},))}, "holds no .safetensors file"),
    ],
)
def test_what_can_be_known_is_refused_before_anything_is_computed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: dict[str, Stage], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=said):
        Pipeline(prompt=SECOND, seed=3, stages=stages).run(home=home)
    assert not (home / "store").exists()


def test_takes_of_the_same_indices_go_together_by_index() -> None:
    """A select stage gives its takes best first; their partners in another list must not be the ones at that place."""

    def takes(stage: str, order: tuple[int, ...]) -> tuple[Take, ...]:
        return tuple(Take(stage, i, 0, SECOND, f"{stage}{i}", Signal(Audio(torch.zeros(1, 8), 8000))) for i in order)

    planned = plan_jobs(
        "both", Mix(sources=("best", "all")), {"sources[0]": takes("best", (2, 0, 1)), "sources[1]": takes("all", (0, 1, 2))},
        fan_out=1, prompt=SECOND, run_seed=1, numerics=Numerics(), fingerprint="", when=None,
    )
    assert [[t.key for t in job.sources.values()] for job in planned] == [["best2", "all2"], ["best0", "all0"], ["best1", "all1"]]
