"""The weights that ship, on eight unseen clips, held to relaxed bars. The full bars: docs/evaluation.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from segue.pipeline.models.resolve import describe_model
from segue.training.build_mini import DEFAULT_OUT
from segue.training.evaluation.autoencoder import judge_autoencoder
from segue.training.evaluation.bars import rows
from segue.training.evaluation.bench import CHOICE_FIRST_SEED, Bench, make_listeners
from segue.training.evaluation.captions import followed, generated
from segue.training.evaluation.covers import judge_covers
from segue.training.evaluation.repainting import judge_repaint
from segue.training.evaluation.stems import judge_added, judge_extract

pytestmark = pytest.mark.xdist_group("shipped")  # one process: what they share is made once


EVALUATION = Path(__file__).parents[2] / "docs" / "evaluation.json"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench("segue-mini", 8, tmp_path_factory.mktemp("bench"), first_seed=CHOICE_FIRST_SEED + 500)
    made.listeners = make_listeners(made.through, 200, reconstructed=40)
    return made


def test_the_written_evaluation_is_of_these_weights_and_its_bars_follow_from_its_figures():
    written = json.loads(EVALUATION.read_text(encoding="utf-8"))
    shipped = describe_model("segue-mini", offline=True).variants
    assert written["fingerprints"] == {name: facts.fingerprint for name, facts in shipped.items()}
    assert written["training"] == json.loads((DEFAULT_OUT / "segue.json").read_text())["training"]
    assert written["bars"] == rows(written["figures"])


@pytest.mark.slow
def test_autoencoder(bench):
    figures = judge_autoencoder(bench)
    assert figures["mix_si_sdr_db"] > 11 and figures["mix_lsd_db"] < 10 and figures["drums_lsd_db"] < 10
    assert figures["chroma_similarity"] > 0.97


@pytest.mark.slow
def test_turbo_plays_what_the_prompt_asks_for(bench):
    figures = followed(bench, generated(bench, "turbo", 8))
    assert figures["instruments"] > figures["other_instruments"] + 0.05
    assert figures["key"] > figures["other_key"] + 0.2 and figures["bpm"] > figures["other_bpm"] + 0.2


@pytest.mark.slow
def test_repaint_copies_what_it_is_shown(bench):
    figures = judge_repaint(bench, "base", 20)
    assert figures["kept_latent_mse"] < 0.1 and figures["kept_si_sdr_db"] > 10
    assert figures["window_latent_mse"] > 2 * figures["kept_latent_mse"]


@pytest.mark.slow
def test_tracks_that_were_asked_for_are_added(bench):
    figures = judge_added(bench, steps=12)
    assert figures["complete"]["present"] > figures["complete"]["absent"] + 0.15
    assert figures["lego"]["present"] > figures["lego"]["absent"] + 0.15


@pytest.mark.slow
def test_a_stem_is_cut_out_of_the_mix(bench):
    figures = judge_extract(bench)
    assert figures["together"]["si_sdr_gain_db"] > 3 and figures["together"]["lsd_below_mix"] > 0.6
    assert figures["together"]["si_sdr_gain_db"] > figures["alone"]["si_sdr_gain_db"] > figures["made"]["si_sdr_gain_db"]


@pytest.mark.slow
def test_a_cover_follows_its_source_less_and_less(bench):
    figures = judge_covers(bench, "turbo", 8)
    strengths, following = figures["strengths"], figures["following"]
    assert strengths["1.0"]["similarity"] > strengths["0.5"]["similarity"] > strengths["0.0"]["similarity"]
    assert following["0.0"]["mean"] > following["1.0"]["mean"]
