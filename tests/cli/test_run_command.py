"""`segue run`, `rerun` and `runs`: what is printed where, the exit codes, and that stopping loses nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

COUNTS = {"model_swaps", "text_encodes", "audio_encodes", "audio_decodes", "forwards"}
STAGE_KEYS = {"name", "type", "variant", "seconds", "cached", "takes", "steps_run", "forwards"}
TAKE_KEYS = {"id", "stage", "seed", "audio", "duration_s", "prompt", "report"}


Call = Callable[..., Any]


def samples(path: str) -> np.ndarray:
    return soundfile.read(path, dtype="float64")[0]


def test_json_is_one_document_with_every_promised_key(segue: Call, tiny: Path) -> None:
    done = segue("run", tiny, "--json", "--out", "out")
    assert done.code == 0, done
    document: dict[str, Any] = json.loads(done.out)
    assert {"run_id", "preset", "out", "counts", "stages", "takes", "pairs"} <= set(document)
    assert set(document["counts"]) == COUNTS
    assert [s["name"] for s in document["stages"]] == ["draft", "scored", "best"]
    assert all(set(s) >= STAGE_KEYS for s in document["stages"])
    (take,) = document["takes"]
    assert set(take) >= TAKE_KEYS and take["stage"] == "best"
    assert take["duration_s"] == pytest.approx(1.0)
    assert 0 <= take["report"]["overall"] <= 10
    assert document["counts"]["text_encodes"] == 1, "two takes of one caption are one text encode"
    assert document["counts"]["forwards"] == 4, "two takes, two unguided steps each"
    assert all(Path(f).is_file() for f in document["files"])


def test_the_table_ends_by_naming_the_files(segue: Call, tiny: Path, tmp_path: Path) -> None:
    done = segue("run", tiny, "--out", "out")
    assert done.code == 0, done
    lines = done.out.rstrip().splitlines()
    named = [tmp_path / line.strip() for line in lines[lines.index("files:") + 1 :]]
    assert named and all(f.is_file() for f in named)
    assert set(named) == {f for f in (tmp_path / "out").rglob("*") if f.is_file()}
    assert "draft" in done.err and "draft" in done.out


def test_without_out_the_folder_bears_the_run_id(segue: Call, tiny: Path, tmp_path: Path) -> None:
    document = json.loads(segue("run", tiny, "--json").out)
    assert Path(document["out"]) == tmp_path / "runs" / document["run_id"]


def test_a_second_run_computes_nothing_and_says_so(segue: Call, tiny: Path) -> None:
    first = json.loads(segue("run", tiny, "--json", "--out", "a").out)
    again = json.loads(segue("run", tiny, "--json", "--out", "b").out)
    assert again["counts"] == dict.fromkeys(COUNTS, 0)
    assert [s["cached"] for s in again["stages"]][:2] == [2, 2]
    assert np.array_equal(samples(first["takes"][0]["audio"]), samples(again["takes"][0]["audio"]))


def test_seed_takes_and_set_change_the_run(segue: Call, tiny: Path) -> None:
    done = segue("run", tiny, "--json", "--seed", 9, "--takes", 1, "--set", "prompt.caption=a low hum", "--set", "best.keep=1")
    document = json.loads(done.out)
    assert document["seed"] == 9
    assert [s["takes"] for s in document["stages"]] == [1, 1, 1]
    assert document["takes"][0]["prompt"]["caption"] == "a low hum"


def test_input_paths_start_at_the_working_folder(segue: Call, tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "p.yaml").write_text(
        "inputs: {clip: missing.wav}\nstages:\n  scored: {type: score, source: clip}\n", encoding="utf-8"
    )
    t = np.arange(48_000) / 48_000
    soundfile.write(tmp_path / "here.wav", 0.3 * np.sin(2 * np.pi * 440 * t), 48_000)
    assert segue("run", "presets/p.yaml").code == 2
    done = segue("run", "presets/p.yaml", "--input", "clip=here.wav", "--json")
    assert done.code == 0, done
    assert json.loads(done.out)["takes"][0]["duration_s"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--set", "draft.stepz=3"], "steps"),
        (["--set", "novalue"], "path=value"),
        (["--input", "clip=x.wav"], "clip"),
        (["--input", "clip"], "name=file"),
        (["--input", "a=1.wav", "--input", "a=2.wav"], "twice"),
        (["--device", "abacus"], "abacus"),
        (["--dtype", "float12"], "float12"),
        (["--takes", "0"], "--takes"),
        (["--seed", "-1"], "--seed"),
        (["--micro-batch", "nine"], "--micro-batch"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_a_wrong_request_is_exit_2_and_leaves_stdout_empty(segue: Call, tiny: Path, args: list[str], said: str) -> None:
    done = segue("run", tiny, "--json", *args)
    assert done.code == 2, done
    assert done.out == ""
    assert said in done.err


def test_every_problem_has_a_line_of_its_own(segue: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "stages:\n  a: {type: generat}\n  b: {type: refine, source: a, denoise: 2}\n  c: {type: score, source: nobody}\n"
    )
    done = segue("run", "bad.yaml")
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code == 2
    assert len(errors) == 3, done
    assert len(errors) == len(done.err.splitlines()), "one line a problem, nothing else"
    assert "generate" in done.err and "bad.yaml:2" in done.err


def test_an_out_folder_that_is_a_file_is_refused_before_anything_runs(segue: Call, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    done = segue("run", tiny, "--out", "taken")
    assert done.code == 2, done
    assert (tmp_path / "taken").read_text() == "mine"


def test_rerun_makes_the_same_take_again(segue: Call, tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = json.loads(segue("run", tiny, "--json", "--out", "a").out)["takes"][0]
    monkeypatch.setenv("SEGUE_HOME", str(tmp_path / "another-home"))  # nothing is known there
    done = segue("rerun", first["audio"], "--json", "--out", "b")
    assert done.code == 0, done
    again = json.loads(done.out)["takes"][0]
    assert again["seed"] == first["seed"]
    assert np.array_equal(samples(first["audio"]), samples(again["audio"]))


def test_rerun_of_a_file_without_tags_is_a_wrong_request(segue: Call, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "plain.flac", np.zeros((4800, 2)), 48_000)
    done = segue("rerun", "plain.flac")
    assert done.code == 2 and "plain.flac" in done.err, done


def test_runs_list_and_show(segue: Call, tiny: Path) -> None:
    assert json.loads(segue("runs", "list", "--json").out) == []
    run_id = json.loads(segue("run", tiny, "--json").out)["run_id"]
    (listed,) = json.loads(segue("runs", "list", "--json").out)
    assert listed["id"] == run_id and listed["status"] == "done" and not listed["resumable"]
    shown = json.loads(segue("runs", "show", run_id, "--json").out)
    made = [t["id"] for t in shown["takes"]]
    assert made[:4] == ["draft/0", "draft/1", "scored/0", "scored/1"]
    assert len(made) == 5 and made[4] in ("best/0", "best/1"), "a chosen take keeps its index"
    assert "draft" in segue("runs", "show", run_id[:12]).out
    assert run_id in segue("runs").out
    assert segue("runs", "show", "no-such-run").code == 2
    assert segue("runs", "resume", "no-such-run").code == 2


def test_a_failed_run_says_how_to_go_on(segue: Call, tiny: Path, tmp_path: Path) -> None:
    """`when` on a metric the report lacks can only be known while running."""
    preset = tmp_path / "fails.yaml"
    preset.write_text(
        tiny.read_text() + '  more: {type: refine, source: best, variant: turbo, steps: 2, when: "scored.no_such_metric < 1"}\n'
    )
    done = segue("run", preset)
    assert done.code in (1, 2), done
    assert "no_such_metric" in done.err
    if done.code == 1:
        assert "segue runs resume" in done.err


@pytest.mark.slow
def test_ctrl_c_stops_at_the_next_step_and_resume_finishes(segue: Call, tmp_path: Path, environment: dict[str, str]) -> None:
    preset = tmp_path / "long.yaml"
    preset.write_text(
        "prompt: {caption: a tone, instrumental: true, duration_s: 1}\nseed: 1\nstages:\n"
        "  quick: {type: generate, variant: turbo, steps: 1}\n"
        "  long: {type: refine, source: quick, variant: base, steps: 400, denoise: 1.0, guidance: {kind: none}}\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-m", "segue", "run", str(preset), "--json", "--out", "out"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stderr is not None and started.stdout is not None
    for line in started.stderr:
        if "quick" in line and "take" in line:
            break
    time.sleep(0.3)
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=600)
    assert started.returncode == 1, err
    assert out == ""
    assert "segue runs resume" in err
    run_id = err.split("segue runs resume")[1].split()[0]

    (listed,) = json.loads(segue("runs", "list", "--json").out)
    assert listed["id"] == run_id and listed["status"] == "cancelled" and listed["resumable"]
    done = segue("runs", "resume", run_id, "--json")
    assert done.code == 0, done
    document = json.loads(done.out)
    assert document["stages"][0]["cached"] == 1, "what was finished was not made again"
    assert Path(document["takes"][0]["audio"]).is_file()


@pytest.mark.slow
def test_a_real_process_prints_one_document_and_no_chatter(process: Call, tiny: Path) -> None:
    done = process("run", tiny, "--json")
    assert done.code == 0, done
    document = json.loads(done.out)
    assert document["preset"] == "tiny"
    lines = [line for line in done.err.splitlines() if line.strip()]
    assert all(line.startswith(("[", "warning: ")) for line in lines), done.err
