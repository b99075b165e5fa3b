"""`segue report --html` of a run that was scored with stems: each stem's score and defects, and which carries which defect."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.html_reader import Reader
from segue.training.corpus import make_clip

Call = Callable[..., Any]
PRESET = """
name: with-stems
prompt: {{instrumental: true}}
seed: 1
inputs: {{{inputs}}}
stages:
  scored: {{type: score, source: mix, stems: {{{stems}}}}}
"""


@pytest.fixture
def page(segue: Call, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """The page's text and the report of the one take. The bass has an offset, which the mix has then; the mix alone is cut."""
    clip = make_clip(40_009_000, 4.0)
    tracks = {name: samples.copy() for name, samples in clip.stems.items()}
    assert "bass" in tracks and len(tracks) > 2
    tracks["bass"] += np.float32(0.3 * np.sqrt(np.mean(clip.samples**2)))
    mix = np.sum(list(tracks.values()), axis=0, dtype=np.float32)
    mix[:, 2 * clip.rate_hz :][:, : clip.rate_hz // 4] = 0.0
    for name, samples in {**tracks, "mix": mix}.items():
        soundfile.write(tmp_path / f"{name}.wav", samples.T, clip.rate_hz, subtype="FLOAT")
    inputs = ", ".join(f"{name}: {name}.wav" for name in ("mix", *tracks))
    (tmp_path / "preset.yaml").write_text(PRESET.format(inputs=inputs, stems=", ".join(f"{n}: {n}" for n in tracks)))
    assert segue("run", "preset.yaml", "--out", "out").code == 0
    done = segue("report", "out", "--html")
    assert done.code == 0, done
    (take,) = json.loads((tmp_path / "out/run.json").read_text())["takes"]
    return (tmp_path / "out/report.html").read_text(encoding="utf-8"), take["report"]


def rows(text: str, label: str) -> list[list[str]]:
    """The cells' text of the table in the region of that label."""
    (body,) = re.findall(rf'aria-label="{re.escape(label)}"><table>.*?<tbody>(.*?)</tbody>', text)
    found = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in found]


def told(defect: dict[str, Any]) -> list[str]:
    times = [f"{defect['start_s']:.3f} s", f"{defect['end_s']:.3f} s"]
    return [defect["type"].replace("_", " "), f"{defect['severity']:.2f}", *times]


def test_each_stem_is_under_its_take_with_its_own_score_and_defects(page: tuple[str, dict[str, Any]]) -> None:
    text, report = page
    Reader(text)
    items = dict(re.findall(r'<li data-stem="([^"]+)">(.*?)(?=<li data-stem|</ul></div>)', text))
    assert list(items) == list(report["stems"]) and len(items) > 2
    for name, stem in report["stems"].items():
        assert f'data-value="{stem["overall"]!r}"' in items[name]
        kinds = {d["type"].replace("_", " ") for d in stem["defects"]}
        assert set(re.findall(r"</span> ([a-z ]+?)(?: ×\d+)?, \d", items[name])) == kinds
        assert ("no defects" in items[name]) == (not kinds)
        if kinds:
            shown = rows(text, f"Defects of the stem {name} of scored/0")
            assert sorted(shown) == sorted(told(d) for d in stem["defects"])


def test_a_defect_names_the_stem_that_carries_it_or_that_none_does(page: tuple[str, dict[str, Any]]) -> None:
    text, report = page
    wanted = [[*told(d), d["evidence"].get("stem") or "none: it arises in the mix"] for d in report["defects"]]
    assert sorted(rows(text, "Defects of scored/0")) == sorted(wanted)
    assert {d["type"]: d["evidence"].get("stem") for d in report["defects"]}["dc_offset"] == "bass"
    assert any(row[-1].startswith("none") for row in wanted)
    assert re.search(r'dc offset[^<]*<span class="faint">in bass</span>', text)
    assert "in the stem bass</title>" in text


def test_a_report_without_stems_shows_none(segue: Call, tmp_path: Path, clip: Path) -> None:
    text = PRESET.format(inputs=f"mix: {clip}", stems="")
    (tmp_path / "preset.yaml").write_text(text)
    assert segue("run", "preset.yaml", "--out", "out").code == 0 and segue("report", "out", "--html").code == 0
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "data-stem" not in page and "in the stem" not in page and "arises in the mix" not in page
