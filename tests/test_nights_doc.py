"""docs/nights.md: every command as written there, in order, in one folder; its tables name what there is."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import datasets
import pytest
from segue.cli.main import app
from segue.dataset.plan import NIGHTS, Plan
from segue.scoring.pair_strategy import NAMES, Compare
from typer.testing import CliRunner

PAGE = (Path(__file__).parents[1] / "docs" / "nights.md").read_text(encoding="utf-8")
SMALLER = {
    "segue night seeds --out data/seeds": (
        "--set", "prompts.grid.count=1", "--set", "prompts.grid.duration_s=2", "--set", "runs[0].takes=2",
        "--set", "runs[0].set={draft.variant: turbo, draft.steps: 2, polish.steps: 2}",
    ),
}  # fmt: skip


def commands() -> Iterator[tuple[str, str]]:
    """Every command of the page with the text it is fed."""
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        lines = iter(block.splitlines())
        for line in lines:
            if not line.strip():
                continue
            command, feeds, _ = line.partition(" <<'EOF'")
            text = ""
            if feeds:
                for fed in lines:
                    if fed == "EOF":
                        break
                    text += fed + "\n"
            yield command, text


class Reader:
    """Somebody who types what the page says, in the current folder. `told` is what each command printed."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        self._beside: list[subprocess.Popen[bytes]] = []

    def type(self, command: str, text: str) -> None:
        command, _, remark = command.partition("  # ")
        words = shlex.split(command.strip())
        if words[:2] == ["cat", ">"]:
            Path(words[2]).write_text(text, encoding="utf-8")
        elif words == ["python", "-"]:
            exec(compile(text, "docs/nights.md", "exec"), {})
        elif words == ["wait"]:
            assert [process.wait(300) for process in self._beside] == [0] * len(self._beside)
        elif words[-1] == "&":
            self._beside.append(subprocess.Popen([sys.executable, "-m", *words[:-1]], env={**os.environ, "OMP_NUM_THREADS": "1"}))
        else:
            assert words[0] == "segue", command
            done = CliRunner().invoke(app, [*words[1:], *SMALLER.get(" ".join(words), ())])
            code = int(remark.removeprefix("exit code ")) if remark.startswith("exit code ") else 0
            assert done.exit_code == code, f"{command}\n{done.stdout}\n{done.stderr}"
            self.told[" ".join(words)] = done.stdout + done.stderr


@pytest.mark.slow
def test_every_command_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    reader = Reader()
    for command, text in commands():
        reader.type(command, text)
    told = reader.told
    assert "budget used up: 6 of 6 takes" in told["segue night my-night.yaml --out data/jazz"]
    assert "nobody works on this night" in told["segue night stop data/jazz"]
    assert "seed: kept 7, given 8" in told["segue night my-night.yaml --out data/jazz --set seed=8"]
    assert told["segue night rescore data/jazz"].startswith("0 of 12 takes scored anew")
    for night, takes in (("jazz", 12), ("more", 6)):
        account = json.loads(Path("data", night, "night.json").read_text(encoding="utf-8"))
        assert account["takes"] == takes and account["jobs"]["quarantined"] == 0
    groups = Path("data/jazz/groups.jsonl").read_bytes()
    assert groups.startswith(_but_for_the_name(Path("data/more/groups.jsonl").read_bytes(), groups)), "two processes, one record"
    _pairs_are_exported_as_derived(told)


def _but_for_the_name(lines: bytes, other: bytes) -> bytes:
    """The lines with the name of the other night, which its timestamp is part of."""
    mine, theirs = (json.loads(record.splitlines()[0])["run"].encode() for record in (lines, other))
    return lines.replace(b'"run":"' + mine, b'"run":"' + theirs)


def _pairs_are_exported_as_derived(told: dict[str, str]) -> None:
    pairs = [json.loads(line) for line in Path("data/jazz/pairs.jsonl").read_bytes().splitlines()]
    strategies = {pair["strategy"] for pair in pairs}
    said = len(Path("said.jsonl").read_text(encoding="utf-8").splitlines())
    assert said and f"judgements: {said} new" in told["segue pairs data/jazz --judgements said.jsonl"]
    assert sum(pair["strategy"] == NAMES["human"] for pair in pairs) == said
    assert {NAMES["seeds"], NAMES["params"]} <= strategies, strategies
    lines = [json.loads(line) for line in Path("lines/data/train.jsonl").read_bytes().splitlines()]
    assert lines and {line["id"] for line in lines} <= {pair["id"] for pair in pairs}
    assert list(Path("shards/data").glob("train-*.tar")) and Path("hub-ready/README.md").read_text().startswith("---\n")


def rows(head: str) -> list[str]:
    """First cells of the table under that head."""
    table = PAGE.split(f"\n| {head} |", 1)[1].split("\n\n", 1)[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def test_the_tables_name_every_key_every_strategy_and_every_shipped_plan() -> None:
    keys = [key for cell in rows("key") for key in re.findall(r"`([\w.]+)`", cell)]
    assert [key for key in keys if "." not in key] == list(Plan.model_fields)
    assert rows("`compare`") == [f"`{name}`" for name in get_args(Compare)]
    assert sorted(rows("plan")) == sorted(f"`{path.stem}`" for path in NIGHTS.glob("*.yaml"))
