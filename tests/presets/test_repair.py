"""Repairs that run: the embedded model on a damaged clip, each result judged against the file."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from segue.pipeline.errors import RequestError
from segue.pipeline.options import RunOptions
from segue.presets.loader import load
from segue.presets.repair import repair, repair_preset
from segue.scoring import score
from segue.scoring.repairs import RepairPlan, repair_plans
from segue.scoring.stems import with_stems
from segue.training.corpus import make_clip


def plan(name="try", **stages):
    return RepairPlan(name=name, defects=("gap",), why="to see", promises=1.0, stages=stages)


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """A clip of 4 s with a drop-out of 0.1 s."""
    clip = make_clip(40_009_000, 4.0)
    samples = clip.samples.copy()
    samples[:, 48_000:50_400] = 0
    path = tmp_path_factory.mktemp("repair") / "gaps.wav"
    soundfile.write(path, samples.T, clip.rate_hz, subtype="FLOAT")
    return path, samples, clip.rate_hz


def test_the_preset_tries_every_plan_from_the_same_input():
    plans = [plan(a={"type": "refine", "source": "clip", "denoise": 0.2}),
             plan(a={"type": "cover", "source": "clip"}, b={"type": "refine", "source": "a"})]  # fmt: skip
    data = yaml.safe_load(repair_preset("song.flac", plans, variant="turbo"))
    assert data["inputs"] == {"clip": str(Path("song.flac").absolute())}
    assert data["outputs"] == ["p1_scored", "p2_scored"]
    sources = {name: stage["source"] for name, stage in data["stages"].items()}
    assert sources == {"heard": "clip", "before": "heard", "p1_a": "heard", "p1_scored": "p1_a", "p2_a": "heard",
                       "p2_b": "p2_a", "p2_scored": "p2_b"}  # fmt: skip
    assert {s.get("variant") for n, s in data["stages"].items() if n.endswith(("_a", "_b"))} == {"turbo"}


def test_every_kind_of_plan_is_a_sound_preset(gaps):
    """Plans for every defect that has one pass the graph's checks on the embedded model."""
    path, samples, rate_hz = gaps
    report = score(samples, rate_hz)
    kinds = ("gap", "clipping", "bandwidth_cut", "harsh", "noise")
    one = report.defects[0]
    full = report.model_copy(update={"defects": tuple(one.model_copy(update={"type": kind}) for kind in kinds)})
    full = with_stems(full, {"drums": full, "bass": report.model_copy(update={"defects": ()}), "vocals": report})
    plans = repair_plans(full)
    assert {list(p.stages.values())[-1]["type"] for p in plans} == {"repaint", "refine", "super_resolve", "cover", "lego"}
    load(repair_preset(path, plans))


def test_no_plan_is_a_wrong_request():
    with pytest.raises(RequestError, match="no plan"):
        repair_preset("song.flac", [])


def test_a_drop_out_is_repainted_and_kept(gaps, tmp_path):
    path, samples, rate_hz = gaps
    report = score(samples, rate_hz)
    (first,) = repair_plans(report)[:1]
    assert first.name == "repaint-spans"
    spoil = plan("spoil", a={"type": "degrade", "source": "clip", "noise": {"snr_db": 0.0}})
    done = repair(path, [first, spoil], out=tmp_path / "out", home=tmp_path / "home", options=RunOptions(offline=True))
    good, bad = done.attempts
    assert good.better and good.report.overall > done.before.overall and "gap" not in good.report.defect_types()
    assert not bad.better and done.kept is good
    made, _ = soundfile.read(good.file)
    keep = np.r_[0 : 40_000, 60_000 : len(samples.T)]
    assert np.corrcoef(made[keep].ravel(), samples.T[keep].ravel())[0, 1] > 0.8  # outside the window it is the same music
    assert done.document()["kept"] == "repaint-spans"
    assert soundfile.read(path)[0].shape == (96_000, 2)
