"""`segue report --html`: one page, whole in itself, with the catalog's own numbers; and what is asked for wrongly."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.html_reader import Reader
from segue.cli.page import media
from segue.pipeline.catalog import Catalog

Call = Callable[..., Any]
EVIL = '</script><script>alert(1)</script> "quoted" & <img src=x onerror=alert(2)>'
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


pytestmark = pytest.mark.xdist_group("report")  # one process: what they share is made once


def command(home: Path, *args: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SEGUE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", "segue", *map(str, args)], env=env, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> tuple[Path, Path]:
    """Home and folder of a run of a shipped preset on the small random model, its caption hostile."""
    home, out = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("runs") / "ladder"
    set_ = {
        "model": tiny_model, "prompt.caption": json.dumps(EVIL), "prompt.duration_s": 2, "takes": 3,
        "stages.drafts.variant": "base", "stages.drafts.steps": 2, "stages.deepened.steps": 2, "stages.polished.variant": "base",
        "stages.polished.steps": 2,
    }  # fmt: skip
    changes = [part for item in set_.items() for part in ("--set", "{}={}".format(*item))]
    done = command(home, "run", "quality-ladder", "--out", out, *changes)
    assert done.returncode == 0, done.stderr
    return home, out


@pytest.fixture
def home(finished: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGUE_HOME", str(finished[0]))
    return finished[0]


@pytest.fixture(scope="module")
def page(finished: tuple[Path, Path]) -> Path:
    home, out = finished
    done = command(home, "report", out, "--html")
    assert done.returncode == 0, done.stderr
    assert str(out / "report.html") in done.stdout
    return out / "report.html"


def test_the_page_is_whole_in_itself(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    read = Reader(text)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)  # a name space is no address that is loaded
    for _, attrs in read.found:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), attrs
    (policy,) = (m["content"] or "" for m in read.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; media-src data:;") and not read.all("link")
    assert "@import" not in text and "url(" not in text
    assert all(image.get("alt") for image in read.all("img")) and read.all("html") == [{"lang": "en"}]
    ids = [attrs["id"] for _, attrs in read.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {a["href"] for a in read.all("a")} <= {f"#{i}" for i in ids}


def test_a_hostile_caption_is_text(page: Path) -> None:
    read = Reader(page.read_text(encoding="utf-8"))
    assert len(read.all("script")) == 1 and read.all("script") == [{}]
    assert EVIL in read.text and not [a for _, a in read.found if any(n.startswith("on") for n in a)]


def test_every_take_is_there_with_the_catalogs_numbers(page: Path, home: Path) -> None:
    document = json.loads((page.parent / "run.json").read_text())
    with Catalog() as catalog:
        takes = catalog.takes(document["run_id"])
    text = page.read_text(encoding="utf-8")
    rows = dict(re.findall(r'<tr data-take="([^"]+)">(.*?)</tr>', text))
    assert set(rows) == {t.id for t in takes} and len(takes) >= 10
    for take in takes:
        assert f">{take.seed}<" in rows[take.id]
        if take.overall is not None:
            assert f'data-value="{take.overall!r}"' in rows[take.id]
    shown = re.findall(r'<h3 id="take-\d+-name">([^<]+)</h3>', text)
    by_id = {t.id: t for t in takes}
    columns = [i for i in shown if by_id[i].report]
    for name in by_id[columns[0]].report["metrics"]:  # type: ignore[index]
        (row,) = re.findall(rf'<tr data-metric="{name}"[^>]*>(.*?)</tr>', text)
        wanted = [by_id[i].report["metrics"][name]["value"] for i in columns]  # type: ignore[index]
        assert re.findall(r'data-value="([^"]+)"', row) == [repr(v) for v in wanted if v is not None]
    (row,) = re.findall(r'<tr data-metric="overall"[^>]*>(.*?)</tr>', text)
    marks = [float(v) for v in re.findall(r'data-value="([^"]+)"', row)]
    assert marks == sorted(marks, reverse=True) == [by_id[i].overall for i in columns]


def test_players_hold_the_sound_and_pictures_are_pictures(page: Path) -> None:
    read = Reader(page.read_text(encoding="utf-8"))
    players = read.all("audio")
    assert players and all("controls" in p and p["aria-label"] for p in players)
    for player in players:
        kind, _, data = (player["src"] or "").partition(";base64,")
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
        assert kind in ("data:audio/ogg", "data:audio/flac") and len(samples) == pytest.approx(2 * rate, abs=rate / 10)
        assert rate == 8400, "the small model's 1200 Hz, seven times: no browser plays less than 3 kHz"
    for image in read.all("img"):
        assert base64.b64decode((image["src"] or "").partition(";base64,")[2]).startswith(b"\x89PNG\r\n")
    assert len({i["src"] for i in read.all("img")}) == len(players)


def test_pairs_name_both_sides_and_the_margin(page: Path) -> None:
    pairs = [json.loads(line) for line in (page.parent / "pairs.jsonl").read_text().splitlines()]
    text = page.read_text(encoding="utf-8")
    assert len(pairs) >= 1
    for pair in pairs:
        assert f"margin {pair['margin']:.2f} points" in text
        for side, word in (("chosen", "Chosen"), ("rejected", "Rejected")):
            assert re.search(rf'{word}: <a href="#take-\d+">{pair[side]["provenance"]["take"]}</a>', text)


def test_by_id_by_folder_linked_and_again_the_same(segue: Call, page: Path, home: Path, tmp_path: Path) -> None:
    run_id = json.loads((page.parent / "run.json").read_text())["run_id"]
    done = segue("report", run_id[:-1], "--html", "--out", "sub/page.html", "--json")
    assert done.code == 0, done
    told = json.loads(done.out)
    assert told["run_id"] == run_id and told["bytes"] == (tmp_path / "sub/page.html").stat().st_size
    assert (tmp_path / "sub/page.html").read_bytes() == page.read_bytes()
    assert segue("report", page.parent, "--html", "--out", "linked.html", "--link-audio", "--takes", 2).code == 0
    read = Reader((tmp_path / "linked.html").read_text(encoding="utf-8"))
    sources = [a["src"] or "" for a in read.all("audio")]
    assert len(sources) == 2 and all((tmp_path / s).is_file() for s in sources)
    assert "--takes shows more" in read.text and (tmp_path / "linked.html").stat().st_size < page.stat().st_size


def test_a_folder_the_catalog_does_not_know(segue: Call, page: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(page.parent, tmp_path / "elsewhere")
    (moved / "pairs.jsonl").write_bytes(b"no pair\n")
    done = segue("report", moved, "--html")
    assert done.code == 0 and "the catalog doesn't know this run" in done.err and "are no pairs" in done.err
    assert len(Reader((moved / "report.html").read_text(encoding="utf-8")).all("audio")) == 1


def test_sounds_that_are_gone_are_said(segue: Call, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = shutil.copytree(page.parent, tmp_path / "elsewhere")
    document = (moved / "run.json").read_text().replace(str(page.parent), str(tmp_path / "nowhere"))
    (moved / "run.json").write_text(document)
    shutil.rmtree(moved / "audio")
    done = segue("report", moved, "--html")
    assert done.code == 0 and "has no player" in done.err and "does not exist" in done.err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("nothing", "--html"), "nothing has been run yet"),
        (("a-folder", "--html"), "holds no run.json"),
        (("a-file", "--html"), "is a file"),
        (("nothing",), "add --html"),
        (("nothing", "--html", "--out", "a-folder"), "is a folder"),
        (("nothing", "--html", "--link-audio", "--lossless"), "leave one out"),
    ],
)
def test_what_is_asked_wrongly_is_exit_2(segue: Call, tmp_path: Path, args: tuple[str, ...], told: str) -> None:
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "a-file").write_text("")
    done = segue("report", *args)
    assert done.code == 2 and told in done.err and done.out == "", done


def test_the_folders_document_is_no_runs(segue: Call, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"run_id": "x"}')
    done = segue("report", tmp_path, "--html")
    assert done.code == 2 and "is no run's document" in done.err


@pytest.mark.parametrize("rate", [1200, 24_000, 48_000])
def test_embedded_sounds_are_the_same_bytes_and_the_same_sound(rate: int) -> None:
    t = np.arange(2 * rate) / rate
    x = np.stack([np.sin(2 * np.pi * 110 * t), 0.5 * np.sin(2 * np.pi * 165 * t)]).astype(np.float32) * 1.5
    for form in ("ogg", "flac"):
        data, what, kind = media.encoded(x, rate, form)
        assert media.encoded(x, rate, form)[0] == data
        back, found = soundfile.read(io.BytesIO(data))
        assert found == rate and kind.removeprefix("audio/") in what.lower()
        assert np.abs(back).max() <= (1.0 if form == "flac" else 1.05)  # a lossy coder swings over a little
        assert np.corrcoef(back[: x.shape[1], 0], x[0, : len(back)])[0, 1] > 0.99


def test_score_draws_each_file(segue: Call, tmp_path: Path, clip: Path) -> None:
    for place in ("a/clip.wav", "b/clip.wav"):
        (tmp_path / place).parent.mkdir()
        shutil.copy(clip, tmp_path / place)
    done = segue("score", "a/clip.wav", "b/clip.wav", "missing.wav", "--plot", "pictures", "--json")
    assert done.code == 2 and "missing.wav" in done.err
    drawn = [r["plot"] for r in json.loads(done.out)]
    assert drawn == [str(Path("pictures/clip.wav.png")), str(Path("pictures/clip.wav-2.png"))]
    first, second = ((tmp_path / p).read_bytes() for p in drawn)
    assert first == second and first.startswith(b"\x89PNG\r\n")
    assert "pictures/clip.wav.png" in segue("score", "a/clip.wav", "--plot", "pictures").out
    assert segue("score", "a/clip.wav", "--plot", "a/clip.wav").code == 2
    assert "plot" not in json.loads(segue("score", "a/clip.wav", "--json").out)[0]


@pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on the PATH")
@pytest.mark.parametrize("width", [400, 1600])
def test_a_browser_shows_it_and_complains_of_nothing(page: Path, tmp_path: Path, width: int) -> None:
    frame = tmp_path / "frame.html"  # a window of its own has a least width; a frame has not
    style = f"width:{width}px;height:2400px;border:0"
    inside = "<script>onload=()=>{const d=frames[0].document.documentElement;document.title=d.scrollWidth+' '+d.clientWidth+' '+"
    inside += "[...frames[0].document.querySelectorAll('audio')].filter(a=>a.error).length}</script>"
    shutil.copy(page, tmp_path / "report.html")
    frame.write_text(f'<body style="margin:0"><iframe src="report.html" style="{style}"></iframe>{inside}')
    shot = tmp_path / "shot.png"
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--virtual-time-budget=4000"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", f"--window-size={max(width, 600)},2400"]
    flags += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # no calls out
    run = [str(BROWSER), *flags, f"--screenshot={shot}", frame.as_uri()]
    done = subprocess.run(run, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "CONSOLE" not in done.stderr, done.stderr
    from matplotlib.image import imread

    picture = imread(shot)[:, :width, :3]
    assert picture.std() > 0.05 and len(np.unique((picture * 255).astype(int).reshape(-1, 3), axis=0)) > 100
    dom = subprocess.run([*run[:-2], "--dump-dom", run[-1]], capture_output=True, text=True, timeout=600).stdout
    (title,) = re.findall(r"<title>(\d+) (\d+) (\d+)</title>", dom)
    scroll, client, broken = map(int, title)
    assert scroll <= client and broken == 0, "the page itself never scrolls sideways; every sound loads"
