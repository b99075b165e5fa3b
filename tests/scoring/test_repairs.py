"""From defects to plans: what is tried, where, in which order; and when a repair counts."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.scoring.repairs import LONGEST_SHARE, PLACED, better, repair_plans, windows
from segue.scoring.report import Defect, QualityReport
from segue.scoring.scorer import deductions


def found(*defects, overall=5.0, duration_s=8.0):
    return QualityReport(overall=overall, defects=defects, scorer="test", duration_s=duration_s, rate_hz=48_000)


def defect(kind, start=0.0, end=8.0, severity=0.5, **evidence):
    return Defect(type=kind, severity=severity, start_s=start, end_s=end, evidence=evidence)


def test_a_sound_without_defects_has_no_plans():
    assert repair_plans(found()) == ()


def test_what_asks_for_a_new_take_has_no_plan():
    assert repair_plans(found(defect("wrong_tempo"), defect("nan", 0, 0.1))) == ()


def test_a_gap_is_repainted_where_it_is():
    (plan,) = repair_plans(found(defect("gap", 3.0, 3.2)))
    assert plan.stages == {"repainted": {"type": "repaint", "source": "clip", "windows": [[2.85, 3.35]]}}
    assert plan.defects == ("gap",) and "gap at 2.85–3.35 s" in plan.why and plan.result == "repainted"


def test_silence_at_an_end_is_not_repainted():
    assert repair_plans(found(defect("silence", 6.0, 8.0, place="end"))) == ()


def test_gaps_over_most_of_the_sound_are_not_repainted():
    assert repair_plans(found(*(defect("gap", t, t + 0.3) for t in range(8)))) == ()


def test_a_missing_band_is_filled_in_from_its_edge():
    (plan,) = repair_plans(found(defect("bandwidth_cut", edge_hz=4000.0)))
    assert plan.stages["restored"] == {"type": "super_resolve", "source": "clip", "denoise": 0.5, "cutoff_hz": 4000.0}


def test_plans_are_ranked_by_what_their_defects_cost_and_gentler_first():
    report = found(defect("bandwidth_cut", severity=0.1, edge_hz=15000.0), defect("clipping", severity=0.9))
    plans = repair_plans(report)
    assert [p.name for p in plans] == ["refine-0.2", "refine-0.35", "cover-0.95", "super-resolve"]
    assert plans[0].promises == pytest.approx(deductions({}, report.defects, 8.0)["clipping"])
    assert [p.promises for p in plans] == sorted((p.promises for p in plans), reverse=True)


@given(st.lists(st.tuples(st.floats(0, 29), st.floats(0.001, 3)), max_size=12))
def test_windows_lie_apart_inside_the_clip_and_cover_every_defect(places):
    defects = [defect("gap", a, min(30.0, a + length)) for a, length in places]
    spans = windows(defects, 30.0)
    assert all(0 <= a < b <= 30 for a, b in spans)
    assert all(first[1] < second[0] for first, second in pairwise(spans))
    assert all(any(a <= d.start_s + 1e-3 and d.end_s <= b + 1e-3 for a, b in spans) for d in defects)


@given(st.lists(st.tuples(st.sampled_from(PLACED), st.floats(0, 29), st.floats(0.001, 3)), min_size=1, max_size=12))
def test_never_more_than_the_share_is_repainted(places):
    report = found(*(defect(k, a, min(30.0, a + length)) for k, a, length in places), duration_s=30.0)
    for plan in repair_plans(report):
        for stage in plan.stages.values():
            assert sum(b - a for a, b in stage.get("windows", [])) <= LONGEST_SHARE * 30.0


def test_a_repair_counts_when_the_score_rose_and_its_defects_fell():
    before = found(defect("gap", 3.0, 3.2, 0.8), defect("clipping", severity=0.4), overall=5.0)
    plan = next(p for p in repair_plans(before) if p.name == "repaint-spans")
    assert better(before, found(overall=6.0), plan)
    assert better(before, found(defect("gap", 3.0, 3.1, 0.5), overall=6.0), plan)
    assert not better(before, found(defect("gap", 3.0, 3.2, 0.8), overall=6.0), plan)  # by something else
    assert not better(before, found(overall=5.01), plan)
    assert not better(before, found(overall=4.0), plan)
