"""Tempo and beat as the training's heads read them, and what holds the tempos' embeddings and marks a clip's beginning."""

import numpy as np
import pytest
import torch
from diffusers.models.transformers.ace_step_transformer import _ace_step_rotary_freqs
from segue.training.flow.beats import BEAT_WEIGHT, TEMPO_WEIGHT, BeatReader, beat_phases, tempo_angles
from segue.training.flow.network import FlowNetwork
from segue.training.flow.tasks import draw_batch
from segue.training.mini import HOP, TRANSFORMER, make_mini, set_silence_latent
from segue.training.vocabulary import TEMPOS, number_tokens, related_rows

FACTS = {"bpm": 75, "timesignature": "4", "keyscale": "C major", "caption": "slow jazz", "lyrics": "", "instruments": {}}


def test_angles_are_those_of_rotary_attention():
    """At 75 bpm a beat is ten tokens: its angles are those of the transformer's tenth position (peer: diffusers)."""
    cos, sin = _ace_step_rotary_freqs(64, TRANSFORMER["head_dim"], TRANSFORMER["rope_theta"], torch.device("cpu"), torch.float32)
    got = tempo_angles(FACTS).reshape(2, 3, 8)
    for index, beats in enumerate((1, 2, 4)):
        torch.testing.assert_close(got[0, index], cos.reshape(64, -1)[10 * beats, :8], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(got[1, index], sin.reshape(64, -1)[10 * beats, :8], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("metre", "frames_a_bar"), [("4", 80), ("3", 60)])
def test_phases_come_round_with_bar_beat_and_half_beat(metre, frames_a_bar):
    """At 75 bpm a beat lasts 20 frames of 40 ms."""
    phases = beat_phases({**FACTS, "timesignature": metre}, 0, 200).reshape(200, 2, 3)
    for column, period in enumerate((frames_a_bar, 20, 10)):
        torch.testing.assert_close(phases[period:, :, column], phases[:-period, :, column], atol=1e-4, rtol=0)
    assert phases[0, 0].min() > 0.9 and phases[0, 1].abs().max() < 0.4  # all begin with the clip
    torch.testing.assert_close(beat_phases(FACTS, 37, 50), beat_phases(FACTS, 0, 87)[37:], atol=1e-4, rtol=0)


def test_what_a_reader_misses():
    """Knowing nothing costs half of each weight; what isn't told, or isn't made from text, is not asked for."""
    mini = make_mini()
    network, reader = FlowNetwork(mini), BeatReader(mini.transformer["base"])
    with torch.no_grad():
        for parameter in reader.parameters():
            parameter.zero_()
    angles, phases = tempo_angles(FACTS).expand(2, -1), beat_phases(FACTS, 0, 80).expand(2, -1, -1)
    one, none = torch.ones(2), torch.zeros(2)
    with pytest.raises(RuntimeError, match="nothing yet"):
        reader.error(one, angles, one, phases)
    with torch.no_grad():
        network.velocity(torch.randn(2, 80, 64), torch.full((2,), 0.9), torch.zeros(2, 1, 192), None, torch.randn(2, 80, 128))
    reader.requires_grad_(False)
    assert float(reader.error(one, angles, none, phases)) == pytest.approx(TEMPO_WEIGHT / 2, rel=1e-2)
    assert float(reader.error(none, angles, one, phases)) == pytest.approx(BEAT_WEIGHT / 2, rel=1e-2)
    assert float(reader.error(none, angles, none, phases)) == 0


def test_tempos_are_held():
    network = FlowNetwork(make_mini())
    weight = network.text_encoder.get_input_embeddings().weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    network.hold_tempos()
    rows = related_rows(network.tokenizer, 192)
    held = [token for number in TEMPOS for token in number_tokens(network.tokenizer, number)]
    for token in held:
        np.testing.assert_allclose(weight[token].detach().numpy(), rows[token], rtol=1e-6)
    others = torch.tensor([token for token in range(len(weight)) if token not in set(held)])
    torch.testing.assert_close(weight[others], before[others] + 1)


def test_silence_begins_as_encoded_silence_does():
    mini = make_mini()
    set_silence_latent(mini)
    with torch.no_grad():
        encoded = mini.vae.encode(torch.zeros(1, 2, 100 * HOP)).latent_dist.mode()[0].T
    silence = mini.condition_encoder.silence_latent[0]
    torch.testing.assert_close(silence[:60], encoded[:60], atol=1e-5, rtol=1e-4)
    assert torch.equal(silence[60], silence[-1]) and float((silence[0] - silence[60]).abs().max()) > 1e-4


def test_pieces_made_from_text_begin_where_clips_begin():
    """Nine of ten; what has a source is cut out anywhere."""
    mix = torch.arange(200.0)[:, None].expand(200, 64)
    items = [{"mix": mix, "stems": {}, "facts": FACTS}]

    def firsts(task: str) -> torch.Tensor:
        batch = draw_batch(items, 200, torch.zeros(300, 64), np.random.default_rng(0), weights={task: 1.0}, lengths=(100,))
        rows = batch.target[:, 0, 0]
        for first, phases in zip(rows.tolist(), batch.phases, strict=True):
            torch.testing.assert_close(phases, beat_phases(FACTS, int(first), 100))
        assert batch.composed.mean() == (task == "text2music")
        assert 0.7 < float(batch.told.mean()) < 0.98  # the others' prompts don't name it
        return rows

    assert 0.8 < float((firsts("text2music") == 0).float().mean()) < 1
    assert float((firsts("repaint") == 0).float().mean()) < 0.1
