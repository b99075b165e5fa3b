"""A night's folder while others begin a night in it: looked at once, and no living process' file is touched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from segue.dataset.folder import PARTS, NightFolder
from segue.pipeline.atomic import write_temp
from segue.pipeline.errors import RequestError


def while_it_looks(monkeypatch, root: Path, change) -> None:
    """`change` happens in the moment in which `root` is listed."""
    listed = Path.iterdir

    def iterdir(path):
        if path == root:
            change()
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)


def test_a_night_that_begins_while_the_folder_is_looked_at_is_one(tmp_path, monkeypatch):
    folder = NightFolder(tmp_path / "night")
    folder.prepare()

    def begun():
        for path in (folder.prompts, folder.database, folder.groups, folder.plan):
            path.write_text("")

    while_it_looks(monkeypatch, folder.root, begun)
    folder.prepare()
    assert folder.exists()


def test_temp_files_that_come_and_go_are_nothing_strange(tmp_path, monkeypatch):
    folder = NightFolder(tmp_path / "night")
    folder.prepare()
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: iter([*listed(path), path / f".tmp-host-{os.getpid()}-0123456789abcdef"]))
    folder.prepare()  # listed, and gone when it is looked for


def test_clearing_a_beginning_leaves_the_temp_files_of_those_who_live(tmp_path):
    folder = NightFolder(tmp_path / "night")
    folder.prepare()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    alive = write_temp(folder.root, b"")
    dead = alive.with_name(alive.name.replace(f"-{os.getpid()}-", f"-{int(gone.stdout)}-"))
    for path in (dead, folder.prompts, folder.groups, folder.database, folder.root / "night.sqlite3-wal"):
        path.write_text("")
    folder.clear_unbegun()
    assert sorted(path.name for path in folder.root.iterdir()) == sorted((alive.name, *PARTS))


def test_a_temp_file_that_another_swept_is_no_unwritable_folder(tmp_path, monkeypatch):
    folder = NightFolder(tmp_path / "night")
    monkeypatch.setattr("segue.dataset.folder.write_temp", lambda root, *_, **__: root / ".tmp-swept")
    folder.prepare()


@pytest.mark.parametrize("name", ["thesis.txt", "plan.yaml.bak", "night.json"])
def test_other_things_are_told(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RequestError, match=f"holds no night: {name}"):
        NightFolder(tmp_path).prepare()
    assert [path.name for path in tmp_path.iterdir()] == [name]
