"""`segue score` with stems, given or made by a separator, and with files too long to be held in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from segue.cli import score as command
from segue.scoring import adapters
from segue.scoring.adapters import AdapterError
from segue.scoring.streaming import score_file
from segue.training.corpus import make_clip

from .conftest import Call

RATE = 24_000


@pytest.fixture
def tracks(tmp_path: Path) -> list[str]:
    """Files of a mix and of its stems, of which the bass has an offset; the names of the stems."""
    clip = make_clip(40_009_000, 4.0)
    stems = {name: samples.copy() for name, samples in clip.stems.items()}
    stems["bass"] += np.float32(0.3 * np.sqrt(np.mean(clip.samples**2)))
    for name, samples in {**stems, "mix": np.sum(list(stems.values()), axis=0, dtype=np.float32)}.items():
        sf.write(tmp_path / f"{name}.wav", samples.T, RATE, subtype="FLOAT")
    return list(stems)


def test_the_stem_that_carries_a_defect_is_named(segue: Call, tracks: list[str]) -> None:
    given = [part for name in tracks for part in ("--stem", f"{name}={name}.wav")]
    done = segue("score", "mix.wav", *given, "--json")
    assert done.code == 0, done
    (entry,) = json.loads(done.out)
    assert list(entry["report"]["stems"]) == tracks
    offset = next(d for d in entry["report"]["defects"] if d["type"] == "dc_offset")
    assert offset["evidence"]["stem"] == "bass"
    lines = segue("score", "mix.wav", *given).out.splitlines()
    (row,) = [line for line in lines if line.startswith("│ dc_offset") and line.count("│") == 7]
    assert row.split("│")[6].strip() == "bass"
    assert any("mix.wav: stems" in line for line in lines)
    assert not any("stem" in line for line in segue("score", "mix.wav").out.splitlines())


def test_what_can_t_be_the_stems_is_told(segue: Call, tracks: list[str], tmp_path: Path) -> None:
    for arguments, words in (
        (("mix.wav", "--stem", "bass"), "not of the form track=file"),
        (("mix.wav", "--stem", "bass=bass.wav", "--stem", "bass=drums.wav"), "names 'bass' twice"),
        (("mix.wav", "bass.wav", "--stem", "bass=bass.wav"), "given with 2 files"),
        (("mix.wav", "--stem", "bass=mix.wav"), "the very file that is scored"),
        (("mix.wav", "--stem", "bass=bass.wav", "--separate", "hdemucs"), "both given"),
        (("mix.wav", "--separate", "hdemuks"), "Did you mean 'hdemucs'?"),
        (("mix.wav", "--separate", "hdemucs=nowhere.pt"), "no weights file 'nowhere.pt'"),
    ):
        done = segue("score", *arguments)
        assert done.code == 2 and words in done.err and not done.out, done
    done = segue("score", "mix.wav", "--stem", "bass=nowhere.wav", "--stem", "drums=gone.wav")
    assert done.code == 2 and "nowhere.wav" in done.err and "gone.wav" in done.err and "--stem bass" in done.err
    half, rate = sf.read(tmp_path / "bass.wav")
    sf.write(tmp_path / "bass.wav", half[: 2 * rate], rate)
    done = segue("score", "mix.wav", "--stem", "bass=bass.wav")
    assert done.code == 0 and "lasts 2.00 s, the mix 4.00 s" in " ".join(done.err.split())


class BassAlone:
    """Gives the mix as bass and silence as drums."""

    def separate(self, samples: Any, rate_hz: int) -> dict[str, np.ndarray]:
        x = np.asarray(samples)
        return {"drums": np.zeros_like(x), "bass": x}


def test_a_separator_makes_the_stems_of_every_file(segue: Call, tracks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def load(name: str, model: str | None = None) -> BassAlone:
        asked.append((name, model))
        return BassAlone()

    monkeypatch.setattr(adapters, "load_separator", load)
    done = segue("score", "mix.wav", "bass.wav", "--separate", "hdemucs=mix.wav", "--json")
    assert done.code == 0 and asked == [("hdemucs", "mix.wav")]  # loaded once
    for entry in json.loads(done.out):
        assert list(entry["report"]["stems"]) == ["drums", "bass"]
        assert {d["evidence"]["stem"] for d in entry["report"]["defects"]} == {"bass"}


def test_a_separator_that_is_missing_or_broken_is_told(segue: Call, tracks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, model: str | None = None) -> None:
        raise AdapterError("these are no weights")

    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name, *a: None)
        done = segue("score", "mix.wav", "--separate", "hdemucs")
    assert done.code == 2 and "needs torchaudio" in done.err and "give --stem" in done.err
    monkeypatch.setattr(adapters, "load_separator", broken)
    done = segue("score", "mix.wav", "--separate", "hdemucs")
    assert done.code == 2 and "these are no weights" in done.err


@pytest.fixture
def hour(tmp_path: Path) -> Path:
    """Eleven minutes, 8 kHz, mono: longer than a file that is held in memory."""
    clip = np.asarray(make_clip(1, 30.0).samples, dtype=np.float32).mean(axis=0)[::3]
    with sf.SoundFile(str(tmp_path / "long.wav"), "w", RATE // 3, 1, "PCM_16") as file:
        for _ in range(22):
            file.write(clip)
    return tmp_path / "long.wav"


def test_a_long_file_is_read_in_sections(segue: Call, hour: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segue.pipeline import audio_file

    monkeypatch.setattr(audio_file, "read_audio", lambda path: pytest.fail("the whole file was read into memory"))
    done = segue("score", "long.wav", "--json")
    assert done.code == 0, done
    (entry,) = json.loads(done.out)
    assert entry["report"] == score_file(hour).model_dump(mode="json")
    assert entry["report"]["duration_s"] == pytest.approx(660.0)


def test_a_long_file_is_neither_drawn_nor_taken_apart(
    segue: Call, tracks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "LONG_S", 3.0)
    monkeypatch.setattr(adapters, "load_separator", lambda name, model=None: BassAlone())
    done = segue("score", "mix.wav", "--plot", "pictures", "--separate", "hdemucs", "--json")
    assert done.code == 2 and "too long to be drawn" in done.err and "too long to be taken apart" in done.err
    (entry,) = json.loads(done.out)
    assert entry["report"] == score_file(tmp_path / "mix.wav").model_dump(mode="json")
    assert not (tmp_path / "pictures").exists()
    done = segue("score", "mix.wav", "--stem", "bass=bass.wav", "--json")  # stems may be long
    assert done.code == 0 and "bass" in json.loads(done.out)[0]["report"]["stems"]


def test_a_long_file_that_is_cut_short_is_told(
    segue: Call, tracks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "LONG_S", 3.0)
    sf.write(tmp_path / "x.flac", sf.read(tmp_path / "mix.wav")[0], RATE)
    content = (tmp_path / "x.flac").read_bytes()
    (tmp_path / "x.flac").write_bytes(content[: len(content) // 2])
    done = segue("score", "x.flac")
    assert done.code == 2 and "x.flac" in done.err
