"""`segue repair`: plans, reports that don't fit, and a file that needs nothing."""

import json

import pytest
import soundfile
import yaml
from segue.scoring import score
from segue.training.corpus import make_clip


@pytest.fixture
def clip(tmp_path):
    made = make_clip(40_009_000, 3.0)
    samples = made.samples.copy()
    samples[:, 24_000:26_400] = 0
    path = tmp_path / "gaps.wav"
    soundfile.write(path, samples.T, made.rate_hz, subtype="FLOAT")
    return path


def test_dry_run_prints_the_preset(segue, clip):
    done = segue("repair", clip, "--dry-run")
    assert done.code == 0, done.err
    preset = yaml.safe_load(done.out)
    assert [s["type"] for s in preset["stages"].values()] == ["caption", "score", "repaint", "score"]
    assert preset["inputs"] == {"clip": str(clip)}
    done = segue("repair", clip, "--dry-run", "--set", "prompt.bpm=96")
    assert yaml.safe_load(done.out)["prompt"]["bpm"] == 96
    done = segue("repair", clip, "--dry-run", "--set", "promt.bpm=96")
    assert done.code == 2 and "promt" in done.err


def test_a_written_report_is_read(segue, clip, tmp_path):
    report = tmp_path / "r.json"
    report.write_text(segue("score", clip, "--json").out)
    done = segue("repair", clip, "--report", report, "--dry-run")
    assert done.code == 0 and "repaint" in done.out


@pytest.mark.parametrize(
    ("text", "says"),
    [("[]", "no report of"), ("{", "this is no report"), ('{"overall": 3}', "this is no report"), (None, "can't be read")],
)
def test_a_wrong_report_is_a_wrong_request(segue, clip, tmp_path, text, says):
    report = tmp_path / "r.json"
    if text is not None:
        report.write_text(text)
    done = segue("repair", clip, "--report", report)
    assert done.code == 2 and says in done.err and "segue score" in done.err


def test_the_report_of_another_sound_is_refused(segue, clip, tmp_path):
    other = make_clip(40_009_001, 2.0)
    report = tmp_path / "r.json"
    report.write_text(score(other.samples, other.rate_hz).model_dump_json())
    done = segue("repair", clip, "--report", report)
    assert done.code == 2 and "2.00 s" in done.err and "3.00 s" in done.err


def test_nothing_to_repair_is_said(segue, tmp_path):
    made = make_clip(40_009_000, 3.0)
    path = tmp_path / "clean.wav"
    soundfile.write(path, made.samples.T, made.rate_hz, subtype="FLOAT")
    done = segue("repair", path, "--json")
    assert done.code == 0 and "nothing to repair" in done.err
    assert json.loads(done.out)["attempts"] == []
