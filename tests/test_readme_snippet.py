"""The README's Python, as written there; only its numbers are made smaller."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_ten_lines_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    for written, smaller in (("duration_s=8", "duration_s=1"), ("takes=4", "takes=2"), ("steps=30", "steps=2")):
        assert code.count(written) == 1
        code = code.replace(written, smaller)
    names: dict[str, Any] = {}
    exec(compile(code, str(README), "exec"), names)
    run, pipe = names["run"], names["pipe"]
    assert len(run["scored"]) == 2 and len(run["best"]) == 1
    assert run["best"][0].report.overall == max(t.report.overall for t in run["scored"])
    assert (tmp_path / "best.flac").is_file() and (tmp_path / "runs/jazz/run.json").is_file()
    assert "draft" in pipe._repr_html_() and "<audio" in run._repr_html_()
