"""Takes whose audio a night did not keep: decoded again, sample for sample what it scored. And the noise they began from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import torch
import yaml
from helpers.night_folders import FRAMES, NightWriter
from segue.dataset.export import ExportOptions, export
from segue.dataset.export_source import NightRecord
from segue.dataset.redecode import SoundFiles, numerics_of
from segue.dataset.trainer_mapping import LatentFacts, generator_seed, initial_noise
from segue.pipeline.audio_file import PEAK_CEILING, samples_sha256
from segue.pipeline.errors import RequestError, RunError
from segue.pipeline.keys import noise
from segue.pipeline.options import RunOptions
from segue.pipeline.prompt import Prompt
from segue.pipeline.scored_groups import generation_of
from segue.pipeline.session import StageContext
from segue.presets.loader import load
from segue.scoring.groups import Generation, GroupEntry

Nights = dict[str, Path]


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Nights:
    """One night twice: with its audio, and with latents alone. One chosen take is above full scale."""
    made = {}
    root = tmp_path_factory.mktemp("nights")
    for policy in ("all", "none"):
        writer = NightWriter(root / policy, tiny_model, audio=policy)
        writer.group([3.0, 7.0, 5.0])
        quiet = writer.group([2.0, 8.0])
        frames = 60 * torch.randn(FRAMES, writer.info.latent_dim, generator=torch.Generator().manual_seed(9))
        assert writer.decoded(frames).samples.abs().max() > 1  # so that the peak guard has to do something
        loud = writer.entry(1, 2, 77, 9.0, prompt=Prompt(caption="loud"), frames=frames)
        writer.groups[1] = quiet.model_copy(update={"entries": (*quiet.entries, loud)})
        made[policy] = writer.end()
    return made


def lines_of(folder: Path) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for file in (folder / "data").glob("*.jsonl") for line in file.open(encoding="utf-8")]
    return {row["id"]: row for row in rows}


def test_takes_decoded_again_are_the_night_s_own_files_sample_for_sample(nights: Nights, tmp_path: Path) -> None:
    made = {policy: export([night], tmp_path / policy, ExportOptions(format="jsonl")) for policy, night in nights.items()}
    assert made["all"].decoded == {} and made["none"].decoded == {"alike": 4} and made["none"].notes == made["all"].notes
    rows = {policy: lines_of(tmp_path / policy) for policy in nights}
    assert rows["all"] == rows["none"]
    peaks = []
    for row in rows["none"].values():
        for side in ("chosen", "rejected"):
            again = sf.read(tmp_path / "none" / row[side]["audio_path"], dtype="int32")[0]
            kept = sf.read(tmp_path / "all" / row[side]["audio_path"], dtype="int32")[0]
            assert np.array_equal(again, kept)
            peaks.append(float(np.abs(kept.astype(np.float64)).max() / 2**31))
    assert max(peaks) == pytest.approx(PEAK_CEILING, abs=1e-6)
    assert not list((tmp_path / "none").glob(".*"))


def test_what_was_decoded_is_let_go_after_its_last_use(nights: Nights, tmp_path: Path) -> None:
    with NightRecord(nights["none"]) as record:
        list(record.groups())
        sounds = [sound for row in record.rows() for sound in row.sounds]
        with SoundFiles([record], tmp_path / "scratch") as files:
            paths = [files.flac(sound) for sound in sounds]
            assert all(path.is_file() for path in paths) and files.decoded == {"alike": len(set(paths))}
            files.expect([sounds[0], sounds[0], sounds[1]])
            assert [p.is_file() for p in paths] == [s in sounds[:2] for s in sounds]
            files.done(sounds[0])
            assert paths[0].is_file()
            files.done(sounds[0])
            assert not paths[0].is_file() and paths[1].is_file()


def test_other_numerics_than_the_night_s_are_told(nights: Nights, tmp_path: Path) -> None:
    copy = tmp_path / "night"
    shutil.copytree(nights["none"], copy)
    account = json.loads((copy / "night.json").read_text())
    with NightRecord(copy) as record:
        assert numerics_of(record)[0].tile_frames == 12 and numerics_of(record)[1]
    account["numerics"]["device"] = "cuda:0"
    (copy / "night.json").write_text(json.dumps(account))
    if not torch.cuda.is_available():
        with pytest.raises(RequestError, match=r"made on cuda:0, which is not here.*--device cpu"):
            export([copy], tmp_path / "hub")
        assert not (tmp_path / "hub").exists()
    made = export([copy], tmp_path / "hub", ExportOptions(device="cpu"))
    assert any("not as the night decoded them" in note for note in made.notes)
    (copy / "night.json").unlink()
    assert export([copy], tmp_path / "hub", ExportOptions(device="cpu")).pairs == 2


def test_a_broken_flac_is_decoded_again_and_said(nights: Nights, tmp_path: Path) -> None:
    copy = tmp_path / "night"
    shutil.copytree(nights["all"], copy)
    with NightRecord(copy) as record:
        list(record.groups())
        first = next(record.rows()).chosen
    (copy / str(first.audio)).write_bytes(b"fLaC and nothing more")
    made = export([copy], tmp_path / "a", ExportOptions(format="jsonl"))
    assert made.decoded == {"alike": 1} and any("was decoded again" in note for note in made.notes)
    export([nights["all"]], tmp_path / "b", ExportOptions(format="jsonl"))
    assert lines_of(tmp_path / "a") == lines_of(tmp_path / "b")


def test_sounds_that_are_gone_are_told_before_anything_is_written(nights: Nights, tmp_path: Path) -> None:
    copy = tmp_path / "night"
    shutil.copytree(nights["none"], copy)
    shutil.rmtree(copy / "latents")
    with pytest.raises(RunError, match=r"4 takes of .* have neither audio nor latents"):
        export([copy], tmp_path / "hub")
    assert not (tmp_path / "hub").exists() and not list(tmp_path.glob(".*"))


def test_a_model_that_is_gone_is_told(nights: Nights, tmp_path: Path, tiny_model: str) -> None:
    copy, model = tmp_path / "night", tmp_path / "model"
    shutil.copytree(tiny_model, model)
    writer = NightWriter(copy, str(model), audio="none")
    writer.group([2.0, 6.0])
    writer.end()
    shutil.rmtree(model)
    with pytest.raises(RunError, match=r"must be decoded again, and their model '.*model' is not there"):
        export([copy], tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_a_take_without_latents_keeps_its_audio_and_has_empty_fields(tmp_path: Path, tiny_model: str) -> None:
    writer = NightWriter(tmp_path / "night", tiny_model, audio="none")
    writer.group([2.0, 6.0], latent=False)
    made = export([writer.end()], tmp_path / "hub", ExportOptions(splits="train=1"))
    assert made.decoded == {}
    (row,) = pq.read_table(tmp_path / "hub" / "data").to_pylist()
    assert row["chosen_latent"] == [] and row["chosen_codec"] is None and row["chosen_noise_seed"] is None
    assert row["chosen"]["bytes"][:4] == b"fLaC"


# -- noise ----------------------------------------------------------------------------------------------------


def test_the_generator_s_seed_draws_the_pipeline_s_noise() -> None:
    for seed, purpose, step in ((0, "initial", 0), (2**63 - 1, "sde", 3)):
        drawn = torch.randn((5, 4), generator=torch.Generator().manual_seed(generator_seed(seed, purpose, step)))
        assert torch.equal(drawn, noise(seed, purpose, step, (5, 4)))


def _entry(lineage: list[dict[str, Any]], pipeline: str = "p") -> GroupEntry:
    generation = Generation(seed=1, extra={"lineage": lineage, "pipeline": pipeline})
    return GroupEntry(take="t", index=0, seed=1, duration_s=1.0, generation=generation, pcm_sha256="0")


def test_the_noise_is_that_of_the_stage_that_drew_it(nights: Nights, tmp_path: Path) -> None:
    latent = LatentFacts(np.zeros((6, 4), np.float32), "codec", 25.0, None)
    draft = {"stage": "draft", "type": "generate", "seed": 11, "timesteps": [1.0, 0.5], "t_start": 1.0, "codec": "codec"}
    refined = {"stage": "refined", "type": "refine", "seed": 12, "timesteps": [0.5], "t_start": 0.5, "codec": "codec"}
    scored = {"stage": "scored", "type": "score", "seed": 12}
    (tmp_path / "pipelines").mkdir()
    for name, stop in (("whole", None), ("half", 1)):
        stages = {"draft": {"type": "generate", **({"stop_at": stop} if stop else {})}, "refined": {"type": "refine"}}
        (tmp_path / "pipelines" / f"{name}.yaml").write_text(yaml.safe_dump({"stages": stages}))
    shutil.copy(nights["all"] / "plan.yaml", tmp_path)
    for file in ("groups.jsonl", "pairs.jsonl"):
        (tmp_path / file).write_text("")
    with NightRecord(tmp_path) as record:
        found = initial_noise(_entry([draft, refined, scored], "whole"), latent, record)
        assert found is not None and (found.seed, found.t_start, found.shape) == (12, 0.5, (6, 4))
        found = initial_noise(_entry([draft, refined, scored], "half"), latent, record)  # draft kept a checkpoint
        assert found is not None and (found.seed, found.t_start) == (11, 1.0)
        found = initial_noise(_entry([draft, {**refined, "passed_by": True}, scored], "gone"), latent, record)
        assert found is not None and found.seed == 11
        assert initial_noise(_entry([scored]), latent, record) is None
        assert initial_noise(_entry([{**draft, "codec": "another"}]), latent, record) is None


def test_a_step_s_initial_noise_is_what_a_real_run_drew(tmp_path: Path, tiny_model: str) -> None:
    """Run a preset on the tiny model and redraw, from an entry of its record, what the sampler was handed."""
    text = f"""
name: t
model: {tiny_model}
prompt: {{caption: a tone, instrumental: true, duration_s: 1}}
seed: 4
takes: 2
stages:
  draft: {{type: generate, steps: 2}}
  scored: {{type: score, source: draft}}
"""
    (tmp_path / "t.yaml").write_text(text)
    drawn: list[torch.Tensor] = []
    draw = StageContext.noise

    def watched(self: Any, seed: int, purpose: str, step: int, shape: Any) -> torch.Tensor:
        made = draw(self, seed, purpose, step, shape)
        drawn.append(made)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageContext, "noise", watched)
        run = load(tmp_path / "t.yaml").run(home=tmp_path / "home", options=RunOptions(offline=True, threads=1))
    for take, given in zip(run["scored"], drawn, strict=True):
        entry = GroupEntry(take=take.id, index=take.index, seed=take.seed, duration_s=take.duration_s,
                           generation=generation_of(take), pcm_sha256=samples_sha256(take.audio))  # fmt: skip
        latent = take.signal.latent()
        facts = LatentFacts(latent.frames.numpy(), latent.codec, latent.frame_rate_hz, latent.samples)
        found = initial_noise(entry, facts, type("Record", (), {"folder": tmp_path})())  # type: ignore[arg-type]
        assert found is not None and torch.equal(noise(found.seed, found.purpose, found.step, found.shape), given)
