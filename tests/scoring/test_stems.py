"""Which stem carries a defect of the mix, measured on real stems with a fault put into one of them."""

import numpy as np
import pytest
from segue.scoring import score
from segue.scoring.repairs import repair_plans
from segue.scoring.report import Defect, QualityReport
from segue.scoring.stems import carrier, with_stems
from segue.training.corpus import make_clip


def found(*defects):
    return QualityReport(overall=5.0, defects=defects, scorer="test", duration_s=8.0, rate_hz=24_000)


def click(start, severity=0.5):
    return Defect(type="click", severity=severity, start_s=start, end_s=start + 0.1)


def test_the_worst_stem_at_that_time_carries_the_defect():
    stems = {"bass": found(click(1.0, 0.3)), "drums": found(click(1.05, 0.9)), "vocals": found(click(5.0, 1.0))}
    assert carrier(click(1.0), stems) == "drums"
    assert carrier(click(5.02), stems) == "vocals"
    assert carrier(click(3.0), stems) is None
    assert carrier(Defect(type="gap", severity=1, start_s=1, end_s=2), stems) is None


def test_a_faint_stem_carries_only_what_no_other_has():
    stems = {"bass": found(click(1.0, 0.3)), "other": found(click(1.0, 0.9), click(5.0, 0.9))}
    assert carrier(click(1.0), stems, faint={"other"}) == "bass"
    assert carrier(click(5.0), stems, faint={"other"}) == "other"


def add_noise(x, rng):
    x += np.float32(0.01) * rng.standard_normal(x.shape).astype(np.float32)


def add_burst(x, rng):
    x[:, 36_000:42_000] += np.float32(0.3) * rng.standard_normal((x.shape[0], 6_000)).astype(np.float32)


def add_clicks(x, rng):
    for at in (30_000, 50_000, 70_000):
        x[:, at : at + 4] += np.float32(0.8) * np.array([1, -1, 1, -1], np.float32)


@pytest.mark.parametrize(("kind", "fault"), [("noise", add_noise), ("noise_burst", add_burst), ("click", add_clicks)])
@pytest.mark.parametrize("name", ["bass", "drums"])
def test_the_stem_a_fault_was_put_into_is_named(kind, fault, name):
    """Beside a stem that a separator leaves all but empty: alone it is nothing but hiss."""
    clip, rng = make_clip(40_010_000, 4.0), np.random.default_rng(1)
    stems = {n: samples.copy() for n, samples in clip.stems.items()}
    fault(stems[name], rng)
    stems["other"] = np.float32(1e-3) * rng.standard_normal(clip.samples.shape).astype(np.float32)
    assert kind not in score(clip.samples, clip.rate_hz).defect_types()
    mix = np.sum(list(stems.values()), axis=0, dtype=np.float32)
    report = with_stems(score(mix, clip.rate_hz), {n: score(s, clip.rate_hz) for n, s in stems.items()})
    carried = [d.evidence.get("stem") for d in report.defects if d.type == kind]
    assert carried and set(carried) == {name}
    assert "noise" in report.stems["other"].defect_types()


def test_the_mix_is_judged_as_before_and_the_report_survives_json():
    report = with_stems(found(click(1.0)), {"bass": found(click(1.0))})
    assert report.overall == 5.0 and report.defects[0].evidence["stem"] == "bass"
    assert QualityReport.model_validate_json(report.model_dump_json()) == report


def test_an_offset_in_the_bass_is_found_in_the_bass_and_played_anew():
    clip = make_clip(40_009_000, 4.0)
    stems = {name: samples.copy() for name, samples in clip.stems.items()}
    assert "bass" in stems and len(stems) > 2
    stems["bass"] += np.float32(0.3 * np.sqrt(np.mean(clip.samples**2)))
    mix = np.sum(list(stems.values()), axis=0, dtype=np.float32)
    report = with_stems(score(mix, clip.rate_hz), {n: score(s, clip.rate_hz) for n, s in stems.items()})
    offset = next(d for d in report.defects if d.type == "dc_offset")
    assert offset.evidence["stem"] == "bass"
    plan = next(p for p in repair_plans(report) if p.name == "lego-bass")
    assert plan.result == "anew" and plan.stages["anew"]["track"] == "bass" and plan.stages["anew"]["keep_source"]
    others = [n for n in stems if n != "bass"]
    assert plan.stages["rest"]["sources"] == others
    for other in others:  # cut out of the clip by extracts of all stems, the spoilt one too, which takes its share with it
        cut = plan.stages[other]
        assert cut["type"] == "wiener" and cut["keep"] == f"{other}_extract" and cut["exhaustive"]
        assert cut["estimates"] == [f"{n}_extract" for n in stems]
