"""The pages made from schemas and commands are up to date, and hold what they are made from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from segue.cli import docs
from segue.presets.loader import presets
from segue.stages import STAGES


@pytest.mark.parametrize("page", sorted(docs.PAGES))
def test_the_page_is_up_to_date(page: str) -> None:
    assert (docs.FOLDER / page).read_text(encoding="utf-8") == docs.PAGES[page](), (
        "run: python -m segue.cli.docs"
    )


def test_pages_are_the_same_each_time() -> None:
    assert all(make() == make() for make in docs.PAGES.values())


def test_every_field_of_every_stage_is_in_the_page() -> None:
    page = docs.stages_page()
    for name, cls in STAGES.items():
        assert f"\n## {name}\n" in page
        for field in cls.model_fields:
            assert f"| `{field}` |" in page or field == "type"


def test_every_preset_and_every_command_is_in_its_page() -> None:
    assert all(f"## {p.name}" in docs.presets_page() for p in presets())
    page = docs.cli_page()
    for command in ("run", "rerun", "show", "validate", "stages", "schema", "models list", "models export", "score", "cache gc",
                    "cache list", "cache verify", "runs list", "runs show", "runs resume"):  # fmt: skip
        assert f"## segue {command}\n" in page
    assert "`--input` NAME=FILE" in page


def test_writing_and_finding_what_is_stale(tmp_path: Path) -> None:
    assert docs.outdated(tmp_path) == list(docs.PAGES)
    docs.write(tmp_path)
    assert docs.outdated(tmp_path) == []
    (tmp_path / "schema.json").write_text(json.dumps({}))
    assert docs.outdated(tmp_path) == ["schema.json"]
