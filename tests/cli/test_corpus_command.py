"""`segue corpus make`: clips with stems as files, the same for the same seed, and errors that teach."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

Call = Callable[..., Any]


def test_clips_and_their_facts_become_files(segue: Call, tmp_path: Path) -> None:
    made = segue("corpus", "make", "music", "--clips", 2, "--first-seed", 5, "--duration", 1, "--json")
    assert made.code == 0, made
    told = json.loads(made.out)
    assert told["clips"] == 2 and told["facts"] == str(Path("music/clips.jsonl"))
    facts = [json.loads(line) for line in (tmp_path / "music" / "clips.jsonl").read_text().splitlines()]
    assert [fact["seed"] for fact in facts] == [5, 6]
    mix, rate_hz = soundfile.read(tmp_path / "music" / "00000005.flac")
    assert mix.shape == (24_000, 2) and rate_hz == 24_000
    stems = [soundfile.read(path)[0] for path in sorted((tmp_path / "music").glob("00000005.*.flac"))]
    assert len(stems) == len(facts[0]["instruments"])
    np.testing.assert_allclose(sum(stems), mix, atol=(len(stems) + 1) / 2**15)


def test_the_same_seed_gives_the_same_files(segue: Call, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        assert segue("corpus", "make", folder, "--clips", 1, "--duration", 1, "--no-stems").code == 0
    assert (tmp_path / "a" / "00000000.flac").read_bytes() == (tmp_path / "b" / "00000000.flac").read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["00000000.flac", "clips.jsonl"]


def test_wrong_requests(segue: Call, tmp_path: Path) -> None:
    wrong = segue("corpus", "make", "music", "--renderer", "orchestra")
    assert wrong.code == 2 and "fluidsynth" in wrong.err
    (tmp_path / "file").write_text("mine")
    taken = segue("corpus", "make", "file")
    assert taken.code == 2 and "is a file" in taken.err
    assert (tmp_path / "file").read_text() == "mine"
