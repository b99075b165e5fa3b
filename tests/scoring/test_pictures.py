"""Pictures of sounds: what they are made of against closed forms, the same bytes each time, and sounds that are hard to draw."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from segue.scoring import score
from segue.scoring.plot import draw, figure_png
from segue.scoring.plot_field import goniometer
from segue.scoring.report import Defect, QualityReport
from segue.scoring.time_frequency import outline, time_frequency

RATE = 24_000


def tone(f: float, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * f * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def noise(channels: int, seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((channels, round(seconds * RATE))).astype(np.float32)


def report_of(duration_s: float, *defects: Defect) -> QualityReport:
    return QualityReport(overall=5.0, scorer="test", duration_s=duration_s, rate_hz=RATE, defects=defects)


@pytest.mark.parametrize(("f", "rate"), [(100.0, 48_000), (1000.0, 24_000), (5000.0, 44_100), (200.0, 1200)])
def test_a_full_scale_tone_is_0_db_in_its_own_row(f: float, rate: int) -> None:
    found = time_frequency(tone(f, 2.0, rate)[None], rate, columns=40, rows=80)
    row = int(found.db[:, 20].argmax())
    assert found.edges_hz[row - 1] <= f <= found.edges_hz[row + 2]
    assert found.db[row, 20] == pytest.approx(0.0, abs=1.5)  # a Hann window loses up to 1.42 dB between two bins


def test_time_runs_from_left_to_right_and_nothing_is_skipped() -> None:
    x = np.zeros((1, 10 * RATE), np.float32)
    x[0, 7 * RATE : 7 * RATE + 50] = 0.5  # 2 ms in ten seconds
    found = time_frequency(x, RATE, columns=20, rows=40)
    assert 13 <= int(found.db.max(axis=0).argmax()) <= 14


def test_correlation_over_frequency() -> None:
    low, high, other = tone(100), tone(4000), noise(2, 4.0)
    found = time_frequency(np.stack([low + high, low - high]), RATE)
    assert found.correlation is not None
    at = {f: found.correlation[np.abs(np.log(found.bands_hz / f)).argmin()] for f in (100, 4000)}
    assert at[100] == pytest.approx(1.0, abs=1e-3) and at[4000] == pytest.approx(-1.0, abs=1e-3)
    apart = time_frequency(other, RATE).correlation
    assert apart is not None and abs(apart[-1]) < 0.1  # unrelated noise, the widest band
    assert time_frequency(low[None], RATE).correlation is None


def test_outline_holds_every_extreme() -> None:
    x = noise(2, 3.0)
    x[1, 12_345] = 0.97
    edges = outline(x, RATE, 100)
    assert edges.shape == (2, 2, 100)
    assert edges[:, 1].max(axis=1) == pytest.approx(x.max(axis=1)) and edges[:, 0].min(axis=1) == pytest.approx(x.min(axis=1))
    x[:, :RATE] = np.nan
    assert np.isnan(outline(x, RATE, 3)[:, :, 0]).all() and np.isfinite(outline(x, RATE, 3)[:, :, 1:]).all()


def test_goniometer_puts_sums_on_the_upright_and_differences_across() -> None:
    x = tone(220)
    same, against = goniometer(x, x), goniometer(x, -x)
    assert same.sum() == x.size and same[:, 80].sum() == x.size  # the middle column
    assert against[80, :].sum() == x.size
    left = goniometer(x, 0 * x)
    rows, columns = np.nonzero(left)
    assert (rows + columns).min() >= 159 and (rows + columns).max() <= 161  # the falling diagonal: L is up and to the left


def test_the_same_sound_gives_the_same_bytes_whatever_the_user_has_set(tmp_path: Path) -> None:
    x = noise(2)
    first = figure_png(x, RATE, report_of(1.0), title="a")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 30}):
        assert figure_png(x, RATE, report_of(1.0), title="a") == first
        assert matplotlib.rcParams["font.size"] == 30
    assert draw(x, RATE, report_of(1.0), tmp_path / "a.png").read_bytes() == first
    assert b"Software" not in first and b"tIME" not in first and b"Creation" not in first
    assert figure_png(x, RATE, report_of(1.0), title="b") != first


def test_every_defect_is_in_the_picture_however_short() -> None:
    x = np.zeros((1, 300 * 1200), np.float32)  # five minutes
    click = Defect(type="click", severity=1.0, start_s=299.999, end_s=300.0)
    dark = np.array(matplotlib.colormaps["YlOrRd"](1.0)[:3])

    def reds(report: QualityReport) -> int:
        picture = imread(io.BytesIO(figure_png(x, 1200, report)), format="png")
        return int((np.abs(picture[:, :1136, :3] - dark).max(axis=2) < 0.02).sum())  # the scale stands further right
    assert reds(report_of(300.0)) == 0
    assert reds(report_of(300.0, click)) > 30


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.zeros((2, RATE), np.float32), RATE),
        (np.full((2, RATE), np.nan, np.float32), RATE),
        (np.full((1, RATE), np.inf, np.float32), RATE),
        (np.ones((1, 1), np.float32), 48_000),
        (noise(8), RATE),
        (noise(3)[:, :5000], 1000),
        (np.tile(noise(1), (2, 1)), 192_000),
    ],
    ids=["silence", "nan", "inf", "one sample", "8 channels", "1 kHz", "192 kHz"],
)
def test_sounds_that_are_hard_to_draw(samples: np.ndarray, rate: int) -> None:
    names = [f"a_kind_of_defect_with_a_long_name_{i % 20}" for i in range(40)]
    many = tuple(Defect(type=name, severity=i / 40, start_s=0, end_s=0) for i, name in enumerate(names))
    report = score(samples, rate).model_copy(update={"defects": many})
    picture = imread(io.BytesIO(figure_png(samples, rate, report, title="$x$ <b> 名\n" * 40)), format="png")
    assert picture.shape[1] == 1240 and picture[..., :3].std() > 0.05


def test_what_is_no_sound_is_refused() -> None:
    with pytest.raises(ValueError, match="give \\[channels, samples\\]"):
        figure_png(np.zeros(5, np.float32), RATE, report_of(1.0))
