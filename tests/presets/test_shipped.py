"""Every shipped preset, run short on the embedded model: it leaves whole files and makes what its `about` says.

Steps and lengths are cut through the same overrides a person would write after ``--set``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile as sf
import torch
from segue import Pipeline, Run, Take, load
from segue.pipeline.audio_file import read_audio
from segue.pipeline.prepare import prepare
from segue.pipeline.tags import read_take_tags
from segue.presets.loader import presets

NAMES = [info.name for info in presets()]
SHORT: dict[str, dict[str, str]] = {
    "artifact-removal": {"cleaned.steps": "2"},
    "base-turbo-refine": {"draft.steps": "2", "polish.steps": "2", "prompt.duration_s": "1.5"},
    "cover-drift": {"near.steps": "4", "further.steps": "4", "far.steps": "4"},
    "cover-refine": {"covered.steps": "2", "polish.steps": "2"},
    "instrument-repair": {"covered.steps": "2", "smoothed.steps": "2"},
    "latent-blend": {"one.steps": "2", "two.steps": "2", "settled.steps": "2", "prompt.duration_s": "1.5"},
    "prompt-evolution": {"trio.steps": "2", "strings.steps": "2", "tape.steps": "2", "prompt.duration_s": "1.5"},
    "quality-ladder": {"drafts.steps": "2", "deepened.steps": "2", "polished.steps": "2", "prompt.duration_s": "1.5"},
    "repaint-region": {"repainted.steps": "2", "repainted.start_s": "0.5", "repainted.end_s": "1.0"},
    "sr-refine-score": {"restored.steps": "2", "refined.steps": "2", "takes": "2"},
    "stem-replace": {"drums_estimate.steps": "2", "guitar.steps": "2"},
    "stem-surgery": {f"{name}.steps": "1" for name in ("keys_estimate", "drums_estimate", "bass_estimate", "guitar")},
}
SECONDS = 1.5


@dataclass(frozen=True)
class Made:
    """One preset's short run and the folders it used."""

    pipe: Pipeline
    run: Run
    out: Path
    home: Path

    def one(self, stage: str) -> Take:
        (take,) = self.run[stage]
        return take


@pytest.fixture(scope="module")
def short(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 1.5 s of the clip."""
    samples, rate = sf.read(clip)
    path = tmp_path_factory.mktemp("short") / "short.wav"
    sf.write(path, samples[: int(SECONDS * rate)], rate, subtype="PCM_24")
    return path


@pytest.fixture(scope="module")
def made(short: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """``made("cover-refine")``: that preset's run, made when first asked for, with a store of its own."""
    known: dict[str, Made] = {}

    def make(name: str) -> Made:
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            inputs = dict.fromkeys(load(name).inputs, short)
            pipe = load(name, overrides=SHORT[name], inputs=inputs)
            run = pipe.run(out=folder / "out", home=folder / "home")
            known[name] = Made(pipe, run, folder / "out", folder / "home")
        return known[name]

    return make


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_there_are_twelve_presets_and_all_are_run_here() -> None:
    assert len(NAMES) == 12 and sorted(SHORT) == NAMES
    assert all(info.about for info in presets())


@pytest.mark.parametrize("name", NAMES)
def test_it_is_sound_as_shipped_and_is_its_own_text(name: str) -> None:
    pipe = load(name)
    assert pipe.name == name
    assert prepare(pipe).warnings == []
    assert load(pipe.to_yaml()) == pipe


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_leaves_whole_files(name: str, made: Callable[[str], Made]) -> None:
    m = made(name)
    graph = prepare(m.pipe).graph
    assert {s.name for s in m.run.stages} == set(m.pipe.stages)
    assert list(m.out.rglob(".tmp-*")) == []
    assert all(f.is_file() for f in m.run.files)
    for take in m.run.output_takes():
        path = m.run.audio_paths[(take.stage, take.index)]
        facts = sf.info(path)
        assert (facts.format, facts.subtype) == ("FLAC", "PCM_24")
        samples = take.audio.samples
        assert bool(samples.isfinite().all()) and float(samples.abs().max()) > 1e-3
        assert facts.frames == samples.shape[-1] and facts.channels == samples.shape[0]
        assert take.duration_s == pytest.approx(graph.duration_s(take.stage), abs=1e-4)
        written = read_audio(path).samples
        peak = float(samples.abs().max())
        gain = 1.0 if peak < 0.999 else float(written.abs().max()) / peak  # the peak guard, where it was needed
        assert torch.allclose(written, samples * gain, atol=2.0**-22)
        scorers = {n for n, stage in m.pipe.stages.items() if stage.scores}
        assert (take.report is not None) == (take.stage in scorers)
        assert take.report is None or 0 <= take.report.overall <= 10
        tags = read_take_tags(path)
        assert (tags.stage, tags.index, tags.seed, tags.key) == (take.stage, take.index, take.seed, take.key)
        assert [step["stage"] for step in tags.lineage] == [step["stage"] for step in take.lineage]
        assert tags.lineage[-1]["stage"] == take.stage and tags.prompt == take.prompt
        assert load(tags.preset) == m.pipe


@pytest.mark.parametrize("name", NAMES)
def test_every_scored_take_stands_in_a_group(name: str, made: Callable[[str], Made]) -> None:
    m = made(name)
    groups = lines(m.out / "groups.jsonl")
    scored = [n for n, stage in m.pipe.stages.items() if stage.scores]
    logged = sorted((g["stage"], e["index"]) for g in groups for e in g["entries"])
    assert logged == sorted((n, t.index) for n in scored for t in m.run[n])
    for n in scored:
        assert len([g for g in groups if g["stage"] == n]) == 1, "takes of one prompt and one input had the same chance"
    pairs = lines(m.out / "pairs.jsonl")
    told_apart = [n for n in scored if len({t.report.overall for t in m.run[n]}) > 1]
    assert m.run.pairs == len(pairs) <= len([n for n in scored if len(m.run[n]) > 1])
    assert len(pairs) > 0 or not told_apart


@pytest.mark.parametrize("name", NAMES)
def test_it_shows_itself(name: str, made: Callable[[str], Made]) -> None:
    m = made(name)
    assert name in repr(m.pipe) and "\n" not in repr(m.pipe).strip()
    page = m.pipe._repr_html_()
    assert all(stage in page for stage in m.pipe.stages)
    assert m.run.id in repr(m.run)
    assert m.run._repr_html_().count("<audio") == len(m.run.output_takes())


def test_sr_refine_score_restores_a_degraded_take_several_ways(made: Callable[[str], Made]) -> None:
    m = made("sr-refine-score")
    run = m.run
    assert run["captioned"][0].prompt.caption
    (degraded,) = run["degraded"]
    drawn = degraded.lineage[-1]
    assert 2000 <= drawn["low_pass"]["cutoff_hz"] <= 6000
    assert [len(run[s]) for s in ("restored", "refined", "scored")] == [2, 2, 2]
    assert len({t.seed for t in run["restored"]}) == 2, "takes fan out after the degrade"
    assert {t.prompt.caption for t in run["scored"]} == {run["captioned"][0].prompt.caption}
    for take in run["scored"]:
        assert take.report is not None and {"lsd", "si_sdr_db"} <= set(take.report.metrics)
        assert {t["variant"] for t in take.lineage if "variant" in t} == {"base", "turbo"}
    assert run.counts["text_encodes"] == 1 and run.counts["model_swaps"] == 1


def test_base_turbo_refine_hands_the_latent_straight_across(made: Callable[[str], Made]) -> None:
    m = made("base-turbo-refine")
    assert m.run.counts["audio_encodes"] == 0 and m.run.counts["audio_decodes"] == 2
    assert [s.variant for s in m.run.stages] == ["base", "turbo", None]
    drafts, polished = m.run["draft"], m.run["polish"]
    assert all(not torch.equal(a.signal.latent().frames, b.signal.latent().frames) for a, b in zip(drafts, polished, strict=True))


def test_cover_refine_follows_the_source_for_its_share(made: Callable[[str], Made]) -> None:
    m = made("cover-refine")
    assert m.run.counts["audio_encodes"] == 1, "one source, two takes"
    for take in m.run["covered"]:
        assert take.lineage[-1]["strength"] == 0.7 and take.lineage[-1]["variant"] == "sft"
    assert all(t.report is not None and "chroma_similarity" in t.report.metrics for t in m.run["scored"])


def test_cover_drift_encodes_once_and_never_in_between(made: Callable[[str], Made]) -> None:
    m = made("cover-drift")
    assert m.run.counts["audio_encodes"] == 1 and m.run.counts["audio_decodes"] == 3
    assert [m.one(s).lineage[-1]["strength"] for s in ("near", "further", "far")] == [0.9, 0.6, 0.3]
    assert [s.forwards for s in m.run.stages] == [4, 4, 4], "a cover costs what a generation costs, whatever its strength"


def test_repaint_region_leaves_the_outside_sample_exact(made: Callable[[str], Made]) -> None:
    m = made("repaint-region")
    clip = m.run.inputs["clip"].audio
    a, b = round(0.5 * clip.rate_hz), round(1.0 * clip.rate_hz)
    for take in m.run["scored"]:
        made_audio = take.audio
        assert made_audio.rate_hz == clip.rate_hz
        assert torch.equal(made_audio.samples[:, :a], clip.samples[:, :a])
        assert torch.equal(made_audio.samples[:, b:], clip.samples[:, b:])
        assert not torch.allclose(made_audio.samples[:, a:b], clip.samples[:, a:b], atol=1e-3)
    one, two = (t.audio.samples for t in m.run["scored"])
    assert not torch.equal(one, two), "two takes are two tries"


def test_stem_replace_lays_both_stems_together(made: Callable[[str], Made]) -> None:
    m = made("stem-replace")
    drums, guitar = m.one("drums").audio.samples, m.one("guitar").audio.samples
    clip, estimate = m.run.inputs["clip"].audio, m.one("drums_estimate").audio.samples
    assert drums.shape == clip.samples.shape, "cut out of the clip, at its rate"
    assert float(drums.square().sum()) < float(clip.samples.square().sum()) and not torch.equal(drums, estimate)
    assert torch.allclose(m.one("both").audio.samples, drums + guitar * 10 ** (-2 / 20), atol=1e-6)
    assert "GUITAR" in m.one("guitar").lineage[-1]["instruction"]
    assert m.one("guitar").prompt.caption == "clean warm acoustic guitar, fingerpicking"
    report = m.one("scored").report
    assert report is not None and list(report.stems) == ["drums", "guitar"]
    assert all(stem.model_training == report.model_training for stem in report.stems.values())


def test_artifact_removal_covers_the_distorted_clip(made: Callable[[str], Made]) -> None:
    m = made("artifact-removal")
    assert m.one("distorted").lineage[-1]["clip_db"]["drive_db"] == 9
    assert len(m.run["cleaned"]) == 2
    assert all(t.lineage[-1]["strength"] == 0.95 for t in m.run["cleaned"])
    assert all("clipping" not in t.report.defect_types() for t in m.run["scored"] if t.report is not None)


def test_stem_surgery_sums_the_stems_and_plays_to_them(made: Callable[[str], Made], short: Path) -> None:
    m = made("stem-surgery")
    stems = [m.one(s).audio.samples for s in ("keys", "drums", "bass")]
    backing = m.one("backing").audio.samples
    assert torch.allclose(backing, stems[0] + stems[1] + stems[2], atol=1e-6)
    alone = load("stem-surgery", overrides={**SHORT["stem-surgery"], "guitar.keep_source": "false"}, inputs={"clip": short})
    guitar = alone.run(home=m.home)["guitar"][0].audio.samples
    assert torch.allclose(m.one("guitar").audio.samples, backing + guitar, atol=1e-5)


def test_prompt_evolution_changes_the_caption_alone(made: Callable[[str], Made]) -> None:
    m = made("prompt-evolution")
    prompts = [m.one(s).prompt for s in ("trio", "strings", "tape")]
    assert len({p.caption for p in prompts}) == 3
    assert {(p.bpm, p.instrumental, p.duration_s) for p in prompts} == {(100, True, 1.5)}
    assert m.run.counts["audio_encodes"] == 0


def test_quality_ladder_keeps_the_best(made: Callable[[str], Made]) -> None:
    m = made("quality-ladder")
    judged = m.run["judged"]
    assert len(judged) == 4 and len({t.seed for t in judged}) == 4
    best = m.one("best")
    assert best.index == max(judged, key=lambda t: (t.report.overall, -t.index)).index
    assert torch.equal(best.audio.samples, judged[best.index].audio.samples)
    assert [len(m.run[s]) for s in ("deepened", "polished", "scored")] == [1, 1, 1]
    assert [step["stage"] for step in m.one("scored").lineage] == list(m.pipe.stages)


def test_instrument_repair_works_on_what_is_clipped(made: Callable[[str], Made]) -> None:
    m = made("instrument-repair")
    assert "clipping" in m.one("judged").report.defect_types()
    done = {step["stage"]: step for step in m.one("scored").lineage}
    assert "passed_by" not in done["covered"] and "passed_by" not in done["smoothed"]
    assert not torch.equal(m.one("scored").audio.samples, m.one("song").audio.samples)


def test_instrument_repair_lets_a_clean_clip_pass_by(made: Callable[[str], Made], short: Path) -> None:
    m = made("instrument-repair")
    clean = load("instrument-repair", overrides={**SHORT["instrument-repair"], "judged.source": "clip"}, inputs={"clip": short})
    run = clean.run(home=m.home)
    (take,) = run["scored"]
    assert "clipping" not in run["judged"][0].report.defect_types()
    assert [step.get("passed_by") for step in take.lineage if step["stage"] in ("covered", "smoothed")] == [True, True]
    assert torch.equal(take.audio.samples, run.inputs["clip"].audio.samples)
    assert run.counts["forwards"] == 0


def test_latent_blend_is_the_mean_of_the_latents(made: Callable[[str], Made]) -> None:
    m = made("latent-blend")
    one, two, blend = (m.one(s).signal.latent().frames for s in ("one", "two", "blend"))
    assert not torch.equal(one, two)
    assert torch.allclose(blend, (one + two) / 2, atol=1e-6)
    assert m.run.counts["audio_encodes"] == 0 and m.run.counts["audio_decodes"] == 1


@pytest.mark.slow
def test_the_demo_by_its_own_command(short: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "segue", "run", "sr-refine-score", "--input", f"clip={short}", "--set", "stages.restored.steps=4",
        "--set", "refined.steps=2", "--seed", "7", "--takes", "2", "--out", "first", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, env=environment)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {"run_id", "preset", "out", "counts", "stages", "takes", "pairs"} <= set(document)
    assert [s["name"] for s in document["stages"]] == ["captioned", "degraded", "restored", "refined", "scored"]
    assert [s["takes"] for s in document["stages"]] == [1, 1, 2, 2, 2]
    assert Path(document["out"]) == tmp_path / "first" and document["seed"] == 7
    for take in document["takes"]:
        assert sf.info(take["audio"]).subtype == "PCM_24" and 0 <= take["report"]["overall"] <= 10
        assert take["duration_s"] == pytest.approx(SECONDS)
    assert len(lines(tmp_path / "first" / "groups.jsonl")) == 1
