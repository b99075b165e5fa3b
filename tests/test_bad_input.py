"""Bad input through the whole command: one clear error or the sensible result, the right exit code, nothing half-written.

The file formats alone are in `test_bad_audio`, wrong fields in `test_bad_fields`, a disk that refuses in `test_bad_places`.
"""

from __future__ import annotations

import json
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from segue.cli.main import app
from segue.pipeline.audio_file import read_audio
from segue.pipeline.models.tiny import build_tiny_acestep
from segue.pipeline.store import Store
from typer.testing import CliRunner

RATE_HZ = 48_000
Segue = Callable[..., Any]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint small enough that a run costs nothing."""
    return build_tiny_acestep(tmp_path_factory.mktemp("models") / "tiny-turbo", seed=2, kind="turbo")


@pytest.fixture
def segue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Segue:
    """``segue("run", "p.yaml")`` in this process, in the test's own folder; `.lines` are what stands on stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Any:
        done = CliRunner().invoke(app, [str(a) for a in args])
        done.errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        return done

    return call


def write_preset(path: Path, stages: dict[str, Any], **top: Any) -> Path:
    document = {"seed": 3, "inputs": {"clip": "clip.wav"}, **top, "stages": stages}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def noise(seconds: float = 0.5, channels: int = 2, rate_hz: int = RATE_HZ) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate_hz), channels))


def half_written(*folders: Path) -> list[Path]:
    return [p for folder in folders for p in folder.rglob("*") if p.name.startswith(".tmp-") or p.suffix == ".tmp"]


def three_hours(path: Path) -> None:
    size = 3 * 3600 * 8_000 * 2
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 8_000, 16_000, 2, 16, b"data", size)
    with path.open("wb") as file:  # sparse: takes no room on the disk
        file.write(head)
        file.truncate(len(head) + size)


def one_nan(path: Path) -> None:
    x = noise()
    x[100, 1] = np.nan
    sf.write(path, x, RATE_HZ, subtype="FLOAT")


def cut_short(path: Path) -> None:
    sf.write(path, noise(), RATE_HZ)
    path.write_bytes(path.read_bytes()[:20_000])


BAD_FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "does not exist"),
    "empty": (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
    "without samples": (lambda path: sf.write(path, np.zeros((0, 2)), RATE_HZ), "no samples"),
    "one sample": (lambda path: sf.write(path, noise()[:1], RATE_HZ), "holds 1 sample"),
    "NaN": (one_nan, "NaN"),
    "three hours": (three_hours, "lasts 10800 s"),
    "truncated": (cut_short, "cut short"),
    "text": (lambda path: path.write_text("no sound at all\n" * 50), "not a sound file"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
}


@pytest.mark.parametrize("what", list(BAD_FILES))
def test_a_bad_file_is_one_error_and_leaves_nothing(what: str, segue: Segue, tiny: Path, tmp_path: Path, _own_home: Path) -> None:
    make, said = BAD_FILES[what]
    make(tmp_path / "song.wav")
    stages = {"covered": {"type": "cover", "source": "clip", "steps": 1}, "scored": {"type": "score", "source": "covered"}}
    preset = write_preset(tmp_path / "p.yaml", stages, model=str(tiny))
    done = segue("run", preset, "--input", "clip=song.wav", "--out", "out", "--json")
    assert done.exit_code == 2 and done.stdout == "", done.stderr
    (error,) = done.errors
    assert said in error and "Fix: " in error
    assert ("song.wav" in error and "inputs.clip" in error) or what == "three hours"
    if what == "three hours":
        assert "stage 'covered'" in error and "turbo" in error and "at most 600 s" in error and "'clip'" in error
    assert not (tmp_path / "out").exists()
    assert json.loads(segue("runs", "list", "--json").stdout) == [], "what could not begin is no run"
    assert half_written(tmp_path, _own_home) == []


ODD_FILES: dict[str, tuple[int, int, str]] = {
    "mono": (RATE_HZ, 1, "song.wav"),
    "eight channels": (RATE_HZ, 8, "song.wav"),
    "8 kHz": (8_000, 2, "song.wav"),
    "192 kHz": (192_000, 2, "song.flac"),
    "mislabelled": (RATE_HZ, 2, "song.flac"),
    "silent": (RATE_HZ, 2, "song.wav"),
}


@pytest.mark.parametrize("what", list(ODD_FILES))
def test_an_odd_file_goes_through_every_kind_of_stage(
    what: str, segue: Segue, tiny: Path, tmp_path: Path, _own_home: Path
) -> None:
    rate, channels, name = ODD_FILES[what]
    sf.write(tmp_path / name, noise(0.5, channels, rate) * (what != "silent"), rate)
    if what == "mislabelled":
        (tmp_path / name).rename(tmp_path / "song.mp3")
        name = "song.mp3"
    stages = {
        "captioned": {"type": "caption", "source": "clip"},
        "worse": {"type": "degrade", "source": "captioned", "low_pass": {"cutoff_hz": 3000}, "noise": {"snr_db": 30}},
        "restored": {"type": "super_resolve", "source": "worse", "steps": 2, "denoise": 0.5},
        "covered": {"type": "cover", "source": "restored", "steps": 1},
        "patched": {"type": "repaint", "source": "clip", "start_s": 0.2, "end_s": 0.3, "steps": 1},
        "both": {"type": "mix", "sources": ["patched", "covered"]},
        "scored": {"type": "score", "source": "both", "reference": "clip"},
    }
    preset = write_preset(tmp_path / "p.yaml", stages, model=str(tiny), outputs=["patched", "scored"])
    done = segue("run", preset, "--input", f"clip={name}", "--out", "out", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    given, takes = read_audio(tmp_path / name), {t["stage"]: t for t in document["takes"]}
    for take in takes.values():
        assert take["duration_s"] == pytest.approx(0.5, abs=1e-3)
    assert 0 <= takes["scored"]["report"]["overall"] <= 10
    patched = read_audio(takes["patched"]["audio"])
    assert (patched.channels, patched.rate_hz) == (channels, rate)
    outside = [slice(0, round(0.2 * rate)), slice(round(0.3 * rate), None)]
    assert all(torch.allclose(patched.samples[:, s], given.samples[:, s], atol=2.0**-22) for s in outside)
    assert half_written(tmp_path, _own_home) == []


def test_silent_takes_are_logged_and_never_paired(segue: Segue, tmp_path: Path) -> None:
    sf.write(tmp_path / "clip.wav", np.zeros((RATE_HZ, 2)), RATE_HZ)
    stages = {
        "worse": {"type": "degrade", "source": "clip", "bit_depth": [4, 12], "takes": 3},
        "scored": {"type": "score", "source": "worse"},
    }
    done = segue("run", write_preset(tmp_path / "p.yaml", stages), "--out", "out", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["pairs"] == 0 and len(document["takes"]) == 3
    assert all("silence" in {d["type"] for d in t["report"]["defects"]} for t in document["takes"])
    (group,) = [json.loads(line) for line in (tmp_path / "out/groups.jsonl").read_text().splitlines()]
    assert [e["silent"] for e in group["entries"]] == [True, True, True]


def test_a_circle_of_sources(segue: Segue, tiny: Path, tmp_path: Path) -> None:
    stages = {name: {"type": "refine", "source": source} for name, source in (("a", "c"), ("b", "a"), ("c", "b"))}
    preset = write_preset(tmp_path / "p.yaml", stages, inputs={}, model=str(tiny))
    for command in ("run", "validate"):
        done = segue(command, preset)
        assert done.exit_code == 2
        (error,) = done.errors
        assert "p.yaml:" in error and "a → b → c → a" in error and "Fix: " in error


def test_a_window_outside_the_clip(segue: Segue, tiny: Path, tmp_path: Path) -> None:
    sf.write(tmp_path / "clip.wav", noise(), RATE_HZ)
    stages = {"patched": {"type": "repaint", "source": "clip", "start_s": 30, "end_s": 31}}
    done = segue("run", write_preset(tmp_path / "p.yaml", stages, model=str(tiny)), "--out", "out")
    assert done.exit_code == 2 and not (tmp_path / "out").exists()
    (error,) = done.errors
    assert all(s in error for s in ("p.yaml:", "stage 'patched'", "key 'start_s'", "[30, 31] s", "0.500 s long", "Fix: "))


def test_a_preset_of_ten_megabytes(segue: Segue, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("# a long story\n" * 700_000)
    begun = time.perf_counter()
    done = segue("run", "p.yaml")
    assert time.perf_counter() - begun < 20, "refused by its size, not read"
    assert done.exit_code == 2
    (error,) = done.errors
    assert "p.yaml" in error and "10.5 MB" in error and "at most 1 MB" in error


@pytest.mark.parametrize("name", ["../evil", "a b", "🎵", "Draft", "", "a/b", "x" * 65])
def test_a_stage_name_that_is_none(segue: Segue, tmp_path: Path, name: str) -> None:
    sf.write(tmp_path / "clip.wav", noise(), RATE_HZ)
    done = segue("run", write_preset(tmp_path / "p.yaml", {name: {"type": "score", "source": "clip"}}), "--out", "out")
    assert done.exit_code == 2 and not (tmp_path / "out").exists()
    assert name in done.errors[0] and "names start with a small letter" in done.errors[0]


def test_odd_names_of_files_folders_and_presets(segue: Segue, tmp_path: Path, _own_home: Path) -> None:
    inner, before = tmp_path / "inner", set(_own_home.parent.iterdir())
    inner.mkdir()
    sf.write(tmp_path / "plain.wav", noise(), RATE_HZ)
    (tmp_path / "plain.wav").rename(tmp_path / "a song 🎵 (1).wav")
    stages = {
        "scored": {"type": "score", "source": "clip"},
        "saved": {"type": "save", "source": "scored", "directory": "best of 🎵", "prompt": {"caption": "../../out 🎵 of here"}},
    }
    preset = write_preset(inner / "my preset 🎵.yaml", stages, name="../../escape 🎵/x", inputs={"clip": "../a song 🎵 (1).wav"})
    out = tmp_path / "runs 🎵" / "of today"
    done = segue("run", preset, "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["preset"] == "../../escape 🎵/x" and Path(document["out"]) == out
    assert all(Path(f).is_relative_to(out) and Path(f).is_file() for f in document["files"])
    (saved,) = (out / "best of 🎵").iterdir()
    assert saved.name.endswith("_out_of_here.flac")
    assert {p.name for p in tmp_path.iterdir()} == {"inner", "a song 🎵 (1).wav", "runs 🎵"}
    assert set(_own_home.parent.iterdir()) == before
    again = segue("rerun", saved, "--input", "clip=a song 🎵 (1).wav", "--out", "again", "--json")
    assert again.exit_code == 0, again.stderr


@pytest.mark.parametrize("directory", ["..", "../x", "/tmp/x", "~/x", "a/../../x", "C:\\x"])
def test_save_stays_in_the_runs_folder(segue: Segue, tmp_path: Path, directory: str) -> None:
    sf.write(tmp_path / "clip.wav", noise(), RATE_HZ)
    done = segue("run", write_preset(tmp_path / "p.yaml", {"saved": {"type": "save", "source": "clip", "directory": directory}}))
    assert done.exit_code == 2
    (error,) = done.errors
    assert "stage 'saved', key 'directory'" in error and "leads out of the run's folder" in error


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a flipped bit": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "cut": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
}


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize("damage", list(DAMAGE))
def test_a_damaged_store_entry_is_found_and_made_again(
    segue: Segue, tmp_path: Path, _own_home: Path, suffix: str, damage: str
) -> None:
    sf.write(tmp_path / "clip.wav", noise(), RATE_HZ)
    stages = {"worse": {"type": "degrade", "source": "clip", "noise": {"snr_db": 20}, "takes": 2}}
    preset = write_preset(tmp_path / "p.yaml", stages)
    first = json.loads(segue("run", preset, "--out", "a", "--json").stdout)
    victim = sorted((_own_home / "store").rglob(f"*{suffix}"))[0]
    victim.write_bytes(DAMAGE[damage](victim.read_bytes()))
    done = segue("run", preset, "--out", "b", "--json")
    assert done.exit_code == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["stages"][0]["cached"] == 1, "the whole one is taken, the damaged one made again"
    assert "damaged" in done.stderr and victim.name[:12] in done.stderr
    for old, new in zip(first["takes"], again["takes"], strict=True):
        assert Path(old["audio"]).read_bytes() == Path(new["audio"]).read_bytes()
    assert Store(_own_home / "store").verify().whole
    assert segue("cache", "verify").exit_code == 0


def lacks(folder: Path, part: str) -> None:
    (folder / part).unlink()


def pickled(folder: Path, part: str) -> None:
    (folder / part).unlink()
    (folder / part).with_suffix(".bin").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")


@pytest.mark.parametrize(
    ("harm", "part", "said"),
    [
        (lacks, "transformer/diffusion_pytorch_model.safetensors", "the model folder lacks"),
        (lacks, "vae/config.json", "the model folder lacks"),
        (lacks, "tokenizer/tokenizer.json", "the model folder lacks"),
        (pickled, "transformer/diffusion_pytorch_model.safetensors", "pickled files can run code"),
        (pickled, "text_encoder/model.safetensors", "pickled files can run code"),
    ],
)
def test_a_model_folder_with_a_fault(segue: Segue, tiny: Path, tmp_path: Path, harm: Any, part: str, said: str) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    harm(folder, part)
    stages = {"draft": {"type": "generate", "steps": 1, "prompt": {"duration_s": 0.5}}}
    done = segue("run", write_preset(tmp_path / "p.yaml", stages, inputs={}, model="./model"), "--out", "out")
    assert done.exit_code == 2 and not (tmp_path / "out").exists(), done.stderr
    (error,) = done.errors
    assert said in error and part.split("/")[0] in error and "key 'model'" in error and "p.yaml:" in error and "Fix: " in error


def test_a_pickle_beside_sound_weights_is_never_opened(segue: Segue, tiny: Path, tmp_path: Path) -> None:
    folder, mark = shutil.copytree(tiny, tmp_path / "model"), tmp_path / "the pickle was opened"
    bomb = b"\x80\x04cbuiltins\nopen\n(X" + struct.pack("<I", len(str(mark))) + str(mark).encode() + b"X\x01\x00\x00\x00wtR."
    for part in ("transformer", "vae", "condition_encoder"):
        (folder / part / "diffusion_pytorch_model.bin").write_bytes(bomb)
    stages = {"draft": {"type": "generate", "steps": 1, "prompt": {"duration_s": 0.5}}}
    done = segue("run", write_preset(tmp_path / "p.yaml", stages, inputs={}, model="./model"), "--out", "out")
    assert done.exit_code == 0, done.stderr
    assert not mark.exists()
    import pickle

    pickle.loads(bomb)
    assert mark.exists(), "the pickle would have told"
