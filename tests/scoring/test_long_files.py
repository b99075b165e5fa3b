"""A file in sections: the figures and defects of the same sound in memory, and memory that does not grow with length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from segue.scoring import Expected, QualityReport, score
from segue.scoring.spectra import Spectra
from segue.scoring.streaming import score_file
from segue.training.corpus import make_clip

RATE = 24_000
SEAM = 15 * RATE  # near the first seam; sections of 15 s start at a multiple of 512 and of a millisecond
# what is summed over the whole is exact; these rest on estimates taken section by section (see `score_file`)
TOLERANCE = {
    "noise_floor_db": 2.0, "steadiness_db": 1.5, "clipped_fraction": 2e-3, "bandwidth_hz": 60.0, "thd_percent": 0.1
}


@pytest.fixture(scope="module")
def damaged() -> np.ndarray:
    """52 s of composed music, with faults that lie across the seams of 15 s sections and inside them."""
    x = np.asarray(make_clip(5, 52.0).samples, dtype=np.float32) + np.float32(0.02)
    x[:, SEAM - 9_000 : SEAM + 30_000] = 0.0  # a silence across a seam
    x[1, 2 * SEAM - 3 * RATE : 2 * SEAM + 2 * RATE] = -x[0, 2 * SEAM - 3 * RATE : 2 * SEAM + 2 * RATE]  # inverted across one
    x[:, 20 * RATE : 20 * RATE + 2_400] = 0.0  # a drop-out
    top = 0.4 * float(np.abs(x[:, 5 * RATE : 9 * RATE]).max())
    x[:, 5 * RATE : 9 * RATE] = np.clip(x[:, 5 * RATE : 9 * RATE], -top, top)
    return x


@pytest.fixture(scope="module")
def both(damaged: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> tuple[QualityReport, QualityReport]:
    path = tmp_path_factory.mktemp("long") / "damaged.wav"
    soundfile.write(path, damaged.T, RATE, subtype="FLOAT")
    return score(damaged, RATE), score_file(path, section_s=15.0)


def test_every_figure_is_that_of_the_sound_in_memory(both: tuple[QualityReport, QualityReport]) -> None:
    whole, streamed = both
    assert streamed.metrics.keys() == whole.metrics.keys()
    assert (streamed.duration_s, streamed.rate_hz, streamed.scorer) == (whole.duration_s, whole.rate_hz, whole.scorer)
    for name, metric in whole.metrics.items():
        value = streamed.metrics[name].value
        if metric.value is None:
            assert value is None, name
        else:
            assert value == pytest.approx(metric.value, rel=1e-6, abs=TOLERANCE.get(name, 1e-6)), name
    assert streamed.overall == pytest.approx(whole.overall, abs=0.3)


@pytest.mark.parametrize("kind", ["silence", "phase_cancellation", "gap", "dc_offset"])
def test_defects_of_the_whole_are_the_same_across_seams(both: tuple[QualityReport, QualityReport], kind: str) -> None:
    whole, streamed = ([d for d in r.defects if d.type == kind] for r in both)
    assert whole
    assert len(streamed) == len(whole)
    for a, b in zip(whole, streamed, strict=True):
        assert (b.start_s, b.end_s) == pytest.approx((a.start_s, a.end_s), abs=1e-5)
        assert b.severity == pytest.approx(a.severity, abs=1e-3)


def test_rests_are_told_from_silences_across_seams(tmp_path: Path) -> None:
    """A silence before, across and right at a seam, once out of what dies away and once broken off."""
    for dying in (True, False):
        x = 0.1 * np.random.default_rng(3).standard_normal((1, 50 * RATE)).astype(np.float32)
        for at in (SEAM - 2 * RATE, 2 * SEAM - RATE // 2, 3 * SEAM):
            if dying:
                x[:, at - RATE // 4 : at] *= np.float32(10) ** np.linspace(0, -3, RATE // 4, dtype=np.float32)
            x[:, at : at + RATE] = 0.0
        soundfile.write(tmp_path / "x.wav", x.T, RATE, subtype="FLOAT")
        whole, streamed = (
            [(d.start_s, d.end_s) for d in report.defects if d.type == "silence"]
            for report in (score(x, RATE), score_file(tmp_path / "x.wav", section_s=15.0))
        )
        assert streamed == whole
        assert len(whole) == (0 if dying else 3)


@pytest.mark.parametrize(("strokes", "lost_s"), [(24, (33.0, 41.3)), (5, (6.2, 20.0, 23.1, 34.4, 41.9))])
def test_gaps_are_told_from_a_gate_over_the_whole(tmp_path: Path, strokes: int, lost_s: tuple[float, ...]) -> None:
    """A gate in the first section alone: a long one makes all gaps its own, a short one leaves all of them."""
    x = 0.1 * np.random.default_rng(2).standard_normal((1, 48 * RATE)).astype(np.float32)
    for at, length in [*((8 + k / 4, 0.1) for k in range(strokes)), *((at, 0.04) for at in lost_s)]:
        x[:, int(at * RATE) : int((at + length) * RATE)] = 0.0
    soundfile.write(tmp_path / "x.wav", x.T, RATE, subtype="FLOAT")
    whole, streamed = (
        [(d.start_s, d.end_s) for d in report.defects if d.type == "gap"]
        for report in (score(x, RATE), score_file(tmp_path / "x.wav", section_s=15.0))
    )
    assert streamed == whole
    assert len(whole) == (0 if strokes == 24 else strokes + len(lost_s))


def test_defects_found_by_section_lie_where_they_lie(both: tuple[QualityReport, QualityReport]) -> None:
    def covered(report: QualityReport, kind: str) -> np.ndarray:
        mask = np.zeros(5_200, dtype=bool)
        for d in report.defects:
            if d.type == kind:
                mask[int(100 * d.start_s) : int(100 * d.end_s) + 1] = True
        return mask

    whole, streamed = both
    assert "clipping" in whole.defect_types()
    for kind in set(whole.defect_types()) & {"clipping", "saturation"}:
        a, b = covered(whole, kind), covered(streamed, kind)
        assert (a & b).sum() >= 0.8 * (a | b).sum(), kind


ASKED = ("decoder_comb", "wrong_key", "wrong_tempo")


@pytest.fixture(scope="module")
def combed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """52 s in C minor at 122 beats a minute, with the lines of a decoder's third layer; as a file and as samples."""
    clip = make_clip(5, 52.0)
    assert (clip.keyscale, clip.bpm) == ("C minor", 122)
    t = np.arange(52 * RATE) / RATE
    lines = sum(np.sin(2 * np.pi * hz * t) for hz in 750 * np.arange(1, 16))
    x = clip.samples + np.float32(0.003) * lines.astype(np.float32)
    path = tmp_path_factory.mktemp("combed") / "combed.wav"
    soundfile.write(path, x.T, RATE, subtype="FLOAT")
    return path, x


def test_what_was_asked_for_is_held_against_a_streamed_file(combed: tuple[Path, np.ndarray]) -> None:
    path, x = combed
    asked = Expected(bpm=144, keyscale="F# minor", strides=(2, 4, 4, 6, 10))
    whole, streamed = score(x, RATE, expected=asked), score_file(path, expected=asked, section_s=15.0)
    for kind in ASKED:
        (a,) = [d for d in whole.defects if d.type == kind]
        (b,) = [d for d in streamed.defects if d.type == kind]
        assert (b.start_s, b.end_s) == (a.start_s, a.end_s) == (0.0, 52.0)
        assert b.severity == pytest.approx(a.severity, abs=0.05), kind
    assert streamed.overall == pytest.approx(whole.overall, abs=0.3)


def test_what_was_rightly_made_or_not_asked_for_is_no_defect(combed: tuple[Path, np.ndarray]) -> None:
    path, _ = combed
    for expected in (None, Expected(bpm=122, keyscale="C minor", strides=(2, 7))):
        assert not set(ASKED) & set(score_file(path, expected=expected, section_s=15.0).defect_types())


def test_a_short_file_is_held_against_what_was_asked_for(combed: tuple[Path, np.ndarray]) -> None:
    path, x = combed
    asked = Expected(keyscale="F# minor")
    assert score_file(path, expected=asked) == score(x, RATE, expected=asked)  # one section is enough
    assert "wrong_key" in score_file(path, expected=asked).defect_types()


def test_one_long_defect_is_one(tmp_path: Path) -> None:
    t = np.arange(50 * RATE) / RATE
    x = np.clip(1.5 * np.sin(2 * np.pi * 440 * t), -0.7, 0.7).astype(np.float32)
    soundfile.write(tmp_path / "x.wav", x, RATE, subtype="FLOAT")
    found = [d for d in score_file(tmp_path / "x.wav", section_s=15.0).defects if d.type == "clipping"]
    assert len(found) == 1
    assert (found[0].start_s, found[0].end_s) == pytest.approx((0, 50), abs=0.01)
    whole = next(d for d in score(x[None], RATE).defects if d.type == "clipping")
    assert found[0].severity == pytest.approx(whole.severity, abs=0.01)


def test_a_clean_file_gets_no_defect_from_being_cut(tmp_path: Path) -> None:
    x = np.asarray(make_clip(8, 50.0).samples, dtype=np.float32)
    soundfile.write(tmp_path / "x.wav", x.T, RATE, subtype="FLOAT")
    assert set(score_file(tmp_path / "x.wav", section_s=15.0).defect_types()) <= set(score(x, RATE).defect_types())


def test_a_short_file_is_scored_as_it_is(tmp_path: Path, damaged: np.ndarray) -> None:
    soundfile.write(tmp_path / "x.wav", damaged[:, : 5 * RATE].T, RATE, subtype="FLOAT")
    assert score_file(tmp_path / "x.wav") == score(damaged[:, : 5 * RATE], RATE)


@pytest.mark.parametrize("fill", [0.0, np.nan, 1e30])
def test_long_and_empty_or_broken(tmp_path: Path, fill: float) -> None:
    x = np.zeros((2, 40 * 8_000), dtype=np.float32)
    x[:, 39 * 8_000 : 39 * 8_000 + 80] = fill
    soundfile.write(tmp_path / "x.wav", x.T, 8_000, subtype="FLOAT")
    report = score_file(tmp_path / "x.wav", section_s=15.0)
    assert report.overall == 0.0
    assert report.defect_types() == (("nan",) if fill else ("silence",))
    if fill:
        assert (report.defects[0].start_s, report.defects[0].end_s) == pytest.approx((39.0, 39.01))


def test_what_can_t_be_read_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "no.wav").write_bytes(b"RIFF")
    for name in ("missing.wav", "no.wav"):
        with pytest.raises(ValueError, match="can't be read as sound"):
            score_file(tmp_path / name)
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), RATE)
    with pytest.raises(ValueError, match="no samples"):
        score_file(tmp_path / "empty.wav")
    with pytest.raises(ValueError, match="give 15 s or more"):
        score_file(tmp_path / "empty.wav", section_s=1.0)


def test_spectra_of_parts_are_those_of_the_whole() -> None:
    x = np.asarray(make_clip(2, 12.0).samples, dtype=np.float32)
    whole = Spectra.of(x, RATE)
    cut = 200 * 512
    loudest = float(whole.energies.max())
    joined = Spectra.joined([Spectra.of(x[:, : cut + 1536], RATE, loudest), Spectra.of(x[:, cut:], RATE, loudest)])
    assert (joined.active == whole.active).all()
    np.testing.assert_allclose(joined.energies, whole.energies, rtol=1e-6)
    np.testing.assert_allclose(joined.power, whole.power, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(joined.magnitude, whole.magnitude, rtol=1e-5, atol=1e-9)
    assert joined.flatness == pytest.approx(whole.flatness, rel=1e-5)
    with pytest.raises(ValueError, match="at least one"):
        Spectra.joined([])


def test_parts_of_one_pass_are_those_of_the_part_alone() -> None:
    x = np.asarray(make_clip(2, 8.0).samples, dtype=np.float32)
    x[:, 50 * 512 : 60 * 512] *= np.float32(1e-5)  # frames that are not active
    whole, parts = Spectra.of(x, RATE), Spectra.of_parts(x, RATE, (40, 100))
    alone = Spectra.of(x[:, 40 * 512 : 100 * 512 + 1536], RATE, float(whole.energies.max()))
    assert not alone.active.all() and np.array_equal(parts[1].active, alone.active)
    np.testing.assert_allclose(parts[1].power, alone.power, rtol=1e-6)
    np.testing.assert_allclose(parts[1].floor, alone.floor, rtol=1e-5)
    joined = Spectra.joined(parts)
    np.testing.assert_allclose(joined.power, whole.power, rtol=1e-5, atol=1e-12)


_PEAK = """
import resource, sys
from segue.scoring.streaming import score_file
score_file(sys.argv[1], section_s=15.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    peaks = []
    clip = np.asarray(make_clip(1, 30.0).samples, dtype=np.float32).T[::3]  # aliased, which memory does not mind
    for minutes in (2, 20):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(str(path), "w", RATE // 3, 2, "FLOAT") as file:
            for _ in range(2 * minutes):
                file.write(clip)
        done = subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert 18 * 60 * (RATE // 3) * 2 * 4 / 2**20 > 60  # what holding the samples would add
    assert peaks[1] - peaks[0] < 20, peaks  # MiB; a kilobyte a second is 1
