"""Save: names, folders, levels, and tags that say how a take came about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from segue.pipeline.audio_file import PEAK_CEILING, probe_audio, read_audio, read_tags, samples_sha256, write_audio
from segue.pipeline.context import Job, Numerics, Result
from segue.pipeline.errors import RequestError, RunError
from segue.pipeline.graph import Graph, GraphScope
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.spec import Prompt
from segue.pipeline.tags import read_take_tags, take_tags
from segue.pipeline.take import Audio, Signal, Take
from segue.scoring.loudness import loudness
from segue.stages.degrade import Degrade
from segue.stages.save import SLUG_LENGTH, Save, slug

CREATED = "2024-11-08T15:20:30+00:00"


class Surroundings:
    stage = "saved"

    def __init__(self, out: Path | None) -> None:
        self.out, self.created = out, CREATED
        made = Pipeline(name="demo", seed=5, inputs={"clip": "song.wav"}, stages={"saved": Save(source="clip")})
        self.preset, self.run_seed, self.numerics = made.to_yaml(), 5, Numerics(threads=3)

    def audio(self, take: Take, rate_hz: int | None = None, channels: int | None = None) -> Audio:
        return take.signal.audio()


def noise(level: float = 0.05, seconds: float = 1.0, rate_hz: int = 48_000) -> Audio:
    x = torch.randn(2, round(seconds * rate_hz), generator=torch.Generator().manual_seed(0)) * level
    return Audio(x, rate_hz)


def saved(out: Path | None, audio: Audio | None = None, index: int = 0, caption: str | None = "Heavy boots on marble floor",
          **spec: Any) -> Result:
    prompt = Prompt(caption=caption, bpm=96)
    lineage = ({"stage": "clip", "type": "input"}, {"stage": "worse", "type": "degrade", "low_pass": {"cutoff_hz": 4000.0}})
    take = Take("worse", index, 77, prompt, "key", Signal(audio or noise()), lineage=lineage)
    job = Job(index, 78, prompt, {"source": take}, "jobkey")
    (result,) = Save(source="worse", **spec).run([job], Surroundings(out))  # type: ignore[arg-type]
    assert result.same_signal and result.audio is None
    return result


@pytest.mark.parametrize(
    ("index", "spec", "file"),
    [
        (0, {}, "saved/20241108_152030_heavy_boots_on_marble_floor.flac"),
        (3, {}, "saved/20241108_152030_heavy_boots_on_marble_floor_03.flac"),
        (3, {"naming": "stage_index", "format": "ogg"}, "saved/saved-03.ogg"),
        (0, {"directory": "best of/🎵", "format": "wav", "naming": "stage_index"}, "best of/🎵/saved-00.wav"),
    ],
)
def test_files_are_named_as_the_docs_say(tmp_path: Path, index: int, spec: dict[str, Any], file: str) -> None:
    facts = saved(tmp_path, index=index, **spec).facts
    assert facts["file"] == file and [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / file]
    assert facts["sha256"] == samples_sha256(read_audio(tmp_path / file))


def test_a_time_of_another_zone_is_told_in_utc(tmp_path: Path) -> None:
    ctx = Surroundings(tmp_path)
    ctx.created = "2024-11-08T17:20:30+02:00"
    take = Take("worse", 0, 0, Prompt(), "k", Signal(noise()))
    (result,) = Save(source="worse").run([Job(0, 0, Prompt(), {"source": take}, "k")], ctx)  # type: ignore[arg-type]
    assert result.facts["file"] == "saved/20241108_152030_untitled.flac"


@given(st.text(max_size=300))
@settings(max_examples=50, deadline=None)
def test_any_caption_gives_a_harmless_name(text: str) -> None:
    name = slug(text)
    assert 1 <= len(name) <= SLUG_LENGTH and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
    assert slug(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [("", "untitled"), ("🎵", "untitled"), ("../../etc/passwd", "etc_passwd"), ("Café  Déjà-vu", "cafe_deja_vu"),
     ("a" * 100, "a" * 60)],
)
def test_slugs(text: str, name: str) -> None:
    assert slug(text) == name


def test_the_peak_guard_is_recorded_and_the_take_is_untouched(tmp_path: Path) -> None:
    audio = noise(1.0)
    before = audio.samples.clone()
    facts = saved(tmp_path, audio).facts
    peak = audio.samples.abs().max().item()
    assert facts["peak"] == pytest.approx(peak) and facts["guard_db"] == pytest.approx(20 * np.log10(PEAK_CEILING / peak))
    assert torch.equal(audio.samples, before)


@pytest.mark.parametrize("target", [-30.0, -23.0, -14.0])
def test_loudness_is_brought_to_the_target_before_the_guard(tmp_path: Path, target: float) -> None:
    facts = saved(tmp_path, noise(0.02, 3.0), loudness_lufs=target).facts
    back = read_audio(tmp_path / facts["file"])
    measured = loudness(back.samples, back.rate_hz).integrated
    assert measured == pytest.approx(target + facts["guard_db"], abs=0.05)
    assert facts["loudness_gain_db"] == pytest.approx(target - facts["loudness_lufs"])


def test_a_target_that_would_clip_is_guarded_and_silence_is_left(tmp_path: Path) -> None:
    facts = saved(tmp_path, noise(0.02, 3.0), loudness_lufs=0.0).facts
    assert facts["guard_db"] < -1 and read_audio(tmp_path / facts["file"]).samples.abs().max() <= 1
    silent = saved(tmp_path, Audio(torch.zeros(2, 48_000), 48_000), 1, loudness_lufs=-14.0).facts
    assert silent["loudness_lufs"] is None and silent["loudness_gain_db"] == 0.0


def test_tags_say_how_the_take_came_about(tmp_path: Path) -> None:
    facts = saved(tmp_path, index=2).facts
    tags = read_take_tags(tmp_path / facts["file"])
    assert (tags.stage, tags.index, tags.run_seed, tags.seed, tags.key, tags.base) == ("saved", 2, 5, 77, "jobkey", None)
    assert tags.prompt == Prompt(caption="Heavy boots on marble floor", bpm=96)
    assert tags.preset == Surroundings(None).preset
    assert tags.lineage[1]["low_pass"]["cutoff_hz"] == 4000.0
    assert tags.numerics == Numerics(threads=3)
    assert read_tags(tmp_path / facts["file"])["TITLE"] == "Heavy boots on marble floor"


@pytest.mark.parametrize(("format", "subtype"), [("flac", "PCM_16"), ("wav", "FLOAT"), ("ogg", "OPUS"), ("mp3", None)])
def test_every_format_carries_them(tmp_path: Path, format: str, subtype: str | None) -> None:
    facts = saved(tmp_path, format=format, subtype=subtype).facts
    assert read_take_tags(tmp_path / facts["file"]).stage == "saved"
    found = probe_audio(tmp_path / facts["file"])
    assert found.format == {"flac": "FLAC", "wav": "WAV", "ogg": "OGG", "mp3": "MP3"}[format]
    assert facts["subtype"] == found.subtype == (subtype or "MPEG_LAYER_III")


def test_the_same_take_saved_twice_is_the_same_file(tmp_path: Path) -> None:
    files = [tmp_path / n / saved(tmp_path / n).facts["file"] for n in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_odd_texts_and_numbers_survive_as_tags() -> None:
    take = Take("x", 0, 1, Prompt(caption="a\0b\n" + "c" * 300), "k", Signal(noise()), lineage=({"score": float("nan")},))
    tags = take_tags(take, preset_yaml="name: x", run_seed=2, numerics=Numerics(), base=Path("/somewhere"))
    assert len(tags["TITLE"]) == 120 and "\0" not in "".join(tags.values())
    assert json.loads(tags["SEGUE_LINEAGE"]) == [{"score": "nan"}] and tags["SEGUE_BASE"] == "/somewhere"


def test_a_file_without_tags_or_with_spoilt_ones_is_said(tmp_path: Path) -> None:
    write_audio(tmp_path / "plain.flac", noise())
    with pytest.raises(RequestError, match="does not say how it was made"):
        read_take_tags(tmp_path / "plain.flac")
    take = Take("x", 0, 1, Prompt(), "k", Signal(noise()))
    tags = {**take_tags(take, preset_yaml="name: x", run_seed=2, numerics=Numerics()), "SEGUE_INDEX": "first"}
    write_audio(tmp_path / "spoilt.flac", noise(), tags=tags)
    with pytest.raises(RequestError, match="can't be understood"):
        read_take_tags(tmp_path / "spoilt.flac")
    with pytest.raises(RequestError):
        read_take_tags(tmp_path / "missing.flac")


def test_without_a_folder_there_is_nowhere_to_write() -> None:
    with pytest.raises(RunError, match="--out"):
        saved(None)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "saved").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="leads out of the run's folder"):
        saved(tmp_path / "out", directory="saved")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"directory": "../up"}, "leads out"), ({"directory": "/tmp"}, "leads out"), ({"directory": "a/../../b"}, "leads out"),
        ({"directory": "~/x"}, "leads out"), ({"directory": "C:\\x"}, "leads out"), ({"directory": ""}, "no folder name"),
        ({"directory": "a\nb"}, "no folder name"), ({"format": "flac", "subtype": "VORBIS"}, "PCM_24 or PCM_16"),
        ({"format": "aac"}, "flac"), ({"loudness_lufs": 3}, "less than or equal to 0"),
    ],
)
def test_wrong_requests_are_refused(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Save(source="x", **spec)


def test_two_stages_may_not_write_over_each_other() -> None:
    first, second = (Save(source="worse", directory="d") for _ in range(2))
    pipeline = Pipeline(inputs={"clip": "x.wav"}, stages={
        "worse": Degrade(source="clip", bit_depth=8), "one": first, "two": second,
        "three": Save(source="worse", directory="d", format="wav"), "four": Save(source="worse"),
        "d": Save(source="worse"),  # whose folder is named as the stage
    })

    def problems(name: str) -> list[str]:
        return [str(p) for p in pipeline.stages[name].check(GraphScope(Graph(pipeline), name))]

    assert problems("one") == problems("three") == problems("four") == []
    assert len(problems("d")) == 2
    (said,) = problems("two")
    assert "stage 'one' writes flac files of the same names into 'd'" in said
