"""Qwen2-Audio captions, on a tiny random checkpoint in the real format: the code path is the one the 7-billion model takes."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.tiny_qwen import build_tiny_qwen2_audio
from segue.pipeline.context import Job, Numerics
from segue.pipeline.errors import RequestError, RunError
from segue.pipeline.graph_checks import build_graph
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.spec import Prompt
from segue.pipeline.take import Audio, Signal, Take
from segue.stages.caption import Caption
from segue.stages.caption_qwen import Qwen2AudioCaptioner, folder_problem


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2-Audio of 100,000 random parameters with its processor, as `save_pretrained` writes them."""
    return build_tiny_qwen2_audio(tmp_path_factory.mktemp("qwen2-audio-tiny"))


def noise(seconds: float, seed: int = 0, rate_hz: int = 24_000) -> Audio:
    return Audio(torch.randn(2, round(seconds * rate_hz), generator=torch.Generator().manual_seed(seed)) * 0.1, rate_hz)


def test_only_new_tokens_are_decoded_and_the_same_every_time(folder: Path) -> None:
    captioner = Qwen2AudioCaptioner(str(folder))
    question = "What plays here?"
    first, again = (captioner.caption([noise(1.0)], question, max_new_tokens=12) for _ in range(2))
    assert first == again and len(first) == 1
    assert question not in first[0] and "assistant" not in first[0] and "Audio 1" not in first[0]
    new = captioner._processor.tokenizer(first[0])["input_ids"]
    assert len(new) <= 3 * 12  # byte tokens: a replaced half character may take three


def test_a_batch_says_what_each_alone_says(folder: Path) -> None:
    """Sounds of unequal length make prompts of unequal length; padding on the left must change nothing."""
    captioner = Qwen2AudioCaptioner(str(folder))
    sounds = [noise(0.5), noise(3.0, 1), noise(1.2, 2)]
    together = captioner.caption(sounds, max_new_tokens=8)
    assert any(together) and together == [captioner.caption([s], max_new_tokens=8)[0] for s in sounds]


def test_the_stage_fills_the_caption_and_lets_go_of_the_weights(folder: Path) -> None:
    class Surroundings:
        stage, numerics = "told", Numerics()

        def audio(self, take: Take, rate_hz: int | None = None, channels: int | None = None) -> Audio:
            return take.signal.audio()

        def path(self, text: str) -> Path:
            return Path(text)

        def warn(self, message: str) -> None:
            raise AssertionError(message)

    ctx: Any = Surroundings()
    stage = Caption(source="clip", by="qwen2-audio", model=str(folder), max_new_tokens=8, fields=("caption", "duration_s"))
    take = Take("clip", 0, 0, Prompt(), "k", Signal(noise(2.0)))
    result = stage.run([Job(0, 0, Prompt(), {"source": take}, "k")], ctx)[0]
    expected = Qwen2AudioCaptioner(str(folder)).caption([noise(2.0)], max_new_tokens=8)[0]
    assert result.prompt == Prompt(caption=expected, duration_s=2.0) and result.same_signal
    captioner = weakref.ref(stage._captioner(ctx))
    assert captioner() is stage._captioner(ctx)  # loaded once for the whole stage
    del ctx
    gc.collect()
    assert captioner() is None


def test_a_folder_that_lacks_something_is_said_before_the_run(folder: Path, tmp_path: Path) -> None:
    assert folder_problem(str(folder)) is None and folder_problem("Qwen/Qwen2-Audio-7B-Instruct") is None
    (tmp_path / "config.json").write_text("{}")

    def pipeline(model: str) -> Pipeline:
        return Pipeline(inputs={"clip": "x.wav"}, stages={"told": Caption(source="clip", by="qwen2-audio", model=model)})

    with pytest.raises(RequestError, match=r"lacks .*safetensors"):
        build_graph(pipeline(str(tmp_path)), model=None)
    with pytest.raises(RequestError, match=r"no folder '\./nowhere'"):
        build_graph(pipeline("./nowhere"), model=None)
    with pytest.raises(RunError, match="can't be loaded"):
        Qwen2AudioCaptioner(str(tmp_path))


def test_a_pickle_is_not_opened(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(RunError, match="can't be loaded"):
        Qwen2AudioCaptioner(str(tmp_path))


def test_scope_is_asked_for_the_preset_s_own_folder(folder: Path) -> None:
    scope: Any = SimpleNamespace(path=lambda text: folder.parent / text, problem=lambda *a: a)
    stage = Caption(source="clip", by="qwen2-audio", model=folder.name)
    assert list(stage.check(scope)) == []
