"""Commands that look and change nothing: presets, show, validate, schema, stages, models, score, cache; and the frame."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from segue.cli import frame, output
from segue.cli.cache import parse_size
from segue.pipeline.errors import RequestError
from segue.stages import STAGES

Call = Callable[..., Any]
PRESETS = sorted(p.stem for p in (Path(__file__).parents[2] / "presets").glob("*.yaml"))


def write_noise(path: Path, clipped: bool = False) -> None:
    """Two seconds of stereo noise, quiet; or driven hard into full scale."""
    noise = np.random.default_rng(0).standard_normal((96_000, 2))
    samples = np.clip(2.0 * noise, -1, 1) if clipped else 0.1 * noise
    soundfile.write(path, samples, 48_000, subtype="FLOAT")


def test_presets_lists_every_shipped_one(segue: Call) -> None:
    listed = json.loads(segue("presets", "--json").out)
    assert [p["name"] for p in listed] == PRESETS
    assert all(p["about"] for p in listed)
    table = segue("presets").out
    assert all(name in table for name in PRESETS)


def test_show_in_every_format(segue: Call, tiny: Path, tmp_path: Path) -> None:
    text = segue("show", tiny).out
    assert all(name in text for name in ("draft", "scored", "best"))
    assert segue("show", tiny, "--format", "mermaid").out.startswith(("flowchart", "graph", "---"))
    plain = json.loads(segue("show", tiny, "--format", "json").out)
    assert plain["stages"]["draft"]["steps"] == 2
    done = segue("show", tiny, "--format", "png", "--out", "drawn.png")
    assert done.code == 0 and "drawn.png" in done.out
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert segue("show", "no-such-preset").code == 2


def test_show_json_is_a_preset_again(segue: Call, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(json.loads(segue("show", tiny, "--format", "json").out)))
    assert segue("validate", "again.yaml").code == 0


def test_validate_says_what_is_wrong(segue: Call, tiny: Path, tmp_path: Path) -> None:
    assert segue("validate", tiny).code == 0
    good = json.loads(segue("validate", tiny, "--json").out)
    assert good["valid"] and good["takes"] == {"draft": 2, "scored": 2, "best": 1}
    (tmp_path / "bad.yaml").write_text(tiny.read_text().replace("source: draft", "source: draught"))
    done = segue("validate", "bad.yaml")
    assert done.code == 2 and "Did you mean 'draft'?" in done.err and done.out == ""
    told = segue("validate", "bad.yaml", "--json")
    assert told.code == 2
    (problem,) = json.loads(told.out)["problems"]
    assert problem["stage"] == "scored" and problem["key"] == "source" and problem["line"] == 8


@pytest.mark.parametrize("name", ["missing.yaml", "folder", "empty.yaml", "binary.yaml", "../nowhere/x.yaml", "naïve 🎵.yaml"])
def test_validate_of_what_is_no_preset_is_exit_2(segue: Call, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.yaml").write_bytes(b"")
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    done = segue("validate", name)
    assert done.code == 2, done
    assert done.err.startswith("error: ") and "Traceback" not in done.err


def test_schema_is_the_document_in_docs(segue: Call) -> None:
    shipped = json.loads((Path(__file__).parents[2] / "docs" / "schema.json").read_text(encoding="utf-8"))
    assert json.loads(segue("schema").out) == shipped


def test_stages_lists_and_explains_every_type(segue: Call) -> None:
    assert [s["name"] for s in json.loads(segue("stages", "--json").out)] == list(STAGES)
    for name, cls in STAGES.items():
        told = json.loads(segue("stages", name, "--json").out)
        assert {f["name"] for f in told["fields"]} == set(cls.model_fields)
        assert told["about"], f"{name} has no docstring"
    by_name = {f["name"]: f for f in json.loads(segue("stages", "refine", "--json").out)["fields"]}
    assert by_name["denoise"]["range"] == "0 to 1" and by_name["denoise"]["default"] == "0.5"
    assert by_name["source"]["default"] is None
    assert by_name["solver"]["kind"] == "one of euler, heun, sde, dpmpp"
    assert by_name["steps"]["range"] == "1 to 1,000"


def test_stages_of_an_unknown_type_helps(segue: Call) -> None:
    done = segue("stages", "generat")
    assert done.code == 2 and "Did you mean 'generate'?" in done.err


def test_models_say_how_far_they_are_trained(segue: Call) -> None:
    listed = json.loads(segue("models", "--json").out)
    mini = {v["variant"]: v for v in listed["variants"] if v["model"] == "segue-mini"}
    assert set(mini) == {"base", "sft", "turbo"}
    state = mini["base"]["training"]
    assert state in ("untrained", "preliminary", "trained")
    assert state in segue("models").out
    assert segue("models", "list", "--model", "no-such-model").code == 2


@pytest.mark.slow
def test_models_export_is_what_diffusers_opens(segue: Call, tmp_path: Path) -> None:
    done = segue("models", "export", "exported")
    assert done.code == 0, done
    folders = [p.parent for p in (tmp_path / "exported").rglob("model_index.json")]
    assert folders
    from diffusers import AceStepPipeline

    assert AceStepPipeline.from_pretrained(folders[0]).transformer is not None
    (tmp_path / "a-file").write_text("")
    assert segue("models", "export", "a-file").code == 2


def test_score_measures_and_names_what_it_cannot_read(segue: Call, tmp_path: Path) -> None:
    write_noise(tmp_path / "quiet.wav")
    write_noise(tmp_path / "loud.wav", clipped=True)
    quiet, loud = json.loads(segue("score", "quiet.wav", "loud.wav", "--json").out)
    assert quiet["file"] == "quiet.wav" and 0 <= loud["report"]["overall"] < quiet["report"]["overall"] <= 10
    assert "clipping" in {d["type"] for d in loud["report"]["defects"]} - {d["type"] for d in quiet["report"]["defects"]}
    table = segue("score", "loud.wav").out
    assert "clipping" in table and "LUFS" in table
    mixed = segue("score", "missing.wav", "quiet.wav", "--json")
    assert mixed.code == 2 and "missing.wav" in mixed.err
    assert [r["file"] for r in json.loads(mixed.out)] == ["quiet.wav"]


def test_cache_lists_verifies_and_makes_room(segue: Call, tiny: Path, _own_home: Path) -> None:
    empty = json.loads(segue("cache", "list", "--json").out)
    assert empty["entries"] == [] and empty["bytes"] == 0
    assert segue("run", tiny).code == 0
    listed = json.loads(segue("cache", "list", "--json").out)
    assert len(listed["entries"]) >= 4
    assert json.loads(segue("cache", "verify", "--json").out)["whole"]
    damaged = next((_own_home / "store").rglob("*.safetensors"))
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    found = segue("cache", "verify")
    assert found.code == 1 and "error: " in found.err
    assert segue("cache", "verify").code == 0, "the damaged entry was moved aside"
    freed = json.loads(segue("cache", "gc", "--max-size", "0", "--json").out)
    assert freed["entries"] == 0 and freed["removed"]
    assert "0 entries" in segue("cache").out


@pytest.mark.parametrize(("text", "bytes_"), [("5GB", 5e9), ("1.5 MB", 1.5e6), ("0", 0), ("12k", 12_000), ("2TB", 2e12)])
def test_sizes(text: str, bytes_: float) -> None:
    assert parse_size(text) == int(bytes_)


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "5 apples", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="is no size"):
        parse_size(text)


def test_json_before_a_subcommand_is_refused(segue: Call) -> None:
    done = segue("cache", "--json", "verify")
    assert done.code == 2 and "after 'verify'" in done.err and done.out == ""


def test_version_and_help(segue: Call) -> None:
    import segue as package

    assert segue("--version").out.strip() == f"segue {package.__version__}"
    shown = segue("--help").out
    commands = ("run", "rerun", "presets", "show", "validate", "schema", "stages", "models", "score", "runs", "cache")
    assert all(c in shown for c in commands)
    assert all(segue(command, "--help").code == 0 for command in commands)
    assert segue("no-such-command").code == 2


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["presets"]])
def test_quick_commands_import_nothing_heavy(command: list[str], tmp_path: Path, environment: dict[str, str]) -> None:
    code = (
        "import sys\nfrom segue.cli.main import app\n"
        f"try:\n    app({command!r})\nexcept SystemExit as e:\n    assert not e.code, e.code\n"
        "heavy = {'torch', 'networkx', 'transformers', 'diffusers', 'scipy', 'librosa', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path, environment: dict[str, str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "segue", "presets", "--json"], cwd=tmp_path, env=environment, stdout=write,
                          stderr=subprocess.PIPE, text=True)  # fmt: skip
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    output.error("plain")
    assert "\x1b[1;31m" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    output.error("plain")
    assert "31m" not in capsys.readouterr().err


def test_text_of_people_is_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.stdout().print(output.table(("caption",), [("[bold]loud[/bold] [verse] :smile:",)]))
    output.error("key [red] is wrong\nand so on")
    shown = capsys.readouterr()
    assert "[bold]loud[/bold] [verse] :smile:" in shown.out
    assert shown.err == "error: key [red] is wrong and so on\n"


def test_chatter_of_libraries_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with frame.quiet_stdout():
        print("a library says hello")
    shown = capsys.readouterr()
    assert shown.out == "" and "hello" in shown.err


def test_an_unexpected_error_is_one_line_and_a_file(segue: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import segue.presets.shipped as shipped

    def broken() -> None:
        raise ZeroDivisionError("the moon is full")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(shipped, "presets", broken)
    done = segue("presets")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert "ZeroDivisionError" in line and "the moon is full" in line
    (traceback,) = tmp_path.glob("segue-traceback-*.txt")
    assert str(traceback) in line and "broken" in traceback.read_text()


def test_debug_raises_the_unexpected(segue: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    import segue.presets.shipped as shipped
    from segue.cli.main import app

    monkeypatch.setenv("SEGUE_DEBUG", "1")
    monkeypatch.setattr(shipped, "presets", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        app(["presets"])
