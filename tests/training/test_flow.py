"""The flow trainer: layouts of the six tasks, conditions equal to the pipeline's, resume equals uninterrupted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import AceStepPipeline
from segue.pipeline.diffusion.guidance import make_guidance
from segue.training.autoencoder.start import start_autoencoder
from segue.training.corpus import make_clip
from segue.training.flow import cache
from segue.training.flow.cache import encode_clip
from segue.training.flow.distill import distil_loss, turbo_times, walk
from segue.training.flow.network import FlowNetwork
from segue.training.flow.prompts import format_prompt, instruction_for
from segue.training.flow.start import start_transformer
from segue.training.flow.tasks import TASKS, draw_batch
from segue.training.flow.train import JUDGED_CLIPS, Trainer, flow_loss, main, parse
from segue.training.mini import make_mini, set_silence_latent


@pytest.fixture(scope="module")
def items():
    clips = [make_clip(seed, 4.0) for seed in range(6)]
    mini = make_mini()
    start_autoencoder(mini.vae, torch.stack([torch.from_numpy(clip.samples) for clip in clips]))
    made = [encode_clip(clip, mini.vae, full=True) for clip in clips]
    return [made[index % 6] for index in range(JUDGED_CLIPS + 6)]


def test_skeleton_is_what_sounds(items):
    """A clip's skeleton: the strongest class of each frame is 1, and the bass of the song is among the strong ones."""
    skeleton, facts = items[0]["skeleton"].float(), items[0]["facts"]
    assert skeleton.shape == (100, 16)
    assert torch.allclose(skeleton[:, :12].amax(1), torch.ones(100), atol=1e-2)
    tone = 0.3 * np.sin(2 * np.pi * 440.0 * np.arange(48_000) / 24_000)[None].repeat(2, 0).astype(np.float32)
    heard = cache.skeleton(tone, 24_000, 50)
    assert (heard[3:47, :12].argmax(1) == 0).all()  # A
    assert heard[3:47, 13].mean() > heard[3:47, [12, 14, 15]].mean() + 1  # 440 Hz lies in the second band
    assert facts["keyscale"].split()[1] in ("major", "minor")


def test_batches_hold_clips_that_are_long_enough(items):
    short = {**items[0], "mix": items[0]["mix"][:60], "stems": {}, "rests": {}}
    mixed = [short, *items]
    batch = draw_batch(mixed, 8, torch.zeros(300, 64), np.random.default_rng(0), weights={"text2music": 1.0}, lengths=(100,))
    assert batch.target.shape[1] in (60, 100)
    assert batch.references.shape == (len(batch.referenced), 750, 64)


def new_network():
    mini = make_mini()
    start_transformer(mini.transformer["base"])
    return FlowNetwork(mini)


@pytest.mark.parametrize("task", TASKS)
def test_layout_of_each_task(items, task):
    silence = torch.arange(300.0)[:, None].expand(300, 64)
    batch = draw_batch(items, 6, silence, np.random.default_rng(0), weights={task: 1.0}, lengths=(80,))
    assert batch.target.shape == batch.source.shape == (6, 80, 64) and batch.mask.shape == (6, 80)
    assert set(batch.tasks) == {task}
    if task == "text2music":
        assert bool((batch.source == silence[:80]).all()) and bool((batch.mask == 1).all())
    elif task == "repaint":
        inside = batch.mask.bool()
        assert bool((batch.source == silence[:80])[inside].all())
        torch.testing.assert_close(batch.source[~inside], batch.target[~inside])
        assert 0 < float(inside.float().mean()) < 1
    elif task == "cover":
        torch.testing.assert_close(batch.source, batch.target)
        assert batch.covers.tolist() == [*range(6)]
    else:
        assert bool((batch.mask == 1).all())
        assert not torch.equal(batch.source, batch.target)


def test_every_track_is_asked_for_with_what_is_left_without_it(items):
    """lego: over many draws each stem of a clip is the target, and its source is the mix without it."""
    whole = [item for item in items[:6] if len(item["stems"]) > 1]
    batch = draw_batch(whole, 200, torch.zeros(300, 64), np.random.default_rng(2), weights={"lego": 1.0}, lengths=(100,))
    pairs = {(source.sum().item(), target.sum().item()) for source, target in zip(batch.source, batch.target, strict=True)}
    wanted = {(item["rests"][track].float().sum().item(), stem.float().sum().item())
              for item in whole for track, stem in item["stems"].items()}  # fmt: skip
    assert pairs == wanted


def test_instructions():
    assert instruction_for("extract", ["drums"]) == "Extract the DRUMS track from the audio:"
    assert instruction_for("complete", ["drums", "bass"]) == "Complete the input track with DRUMS | BASS:"


def test_conditions_equal_the_pipelines(items):
    """Our padded, batched conditions are, for each prompt, what diffusers computes for it alone with 30 s of silence."""
    mini = make_mini()
    set_silence_latent(mini)
    network = FlowNetwork(mini).eval()
    batch = draw_batch(items, 2, network.silence, np.random.default_rng(1), weights={"text2music": 1.0}, lengths=(80,))
    batch.references, batch.referenced = batch.references[:0], batch.referenced[:0]
    facts = {"duration_s": 8.0, "bpm": 120, "keyscale": "C major", "timesignature": "4"}
    captions = ["slow jazz with piano", "fast rock music with drums, bass and electric guitar"]
    batch.prompts = [format_prompt(instruction_for("text2music", []), c, "[Instrumental]", **facts) for c in captions]
    with torch.no_grad():
        states, mask = network.conditions(batch)
    pipe = AceStepPipeline(
        vae=mini.vae, text_encoder=mini.text_encoder, tokenizer=mini.tokenizer, scheduler=mini.scheduler,
        transformer=mini.transformer["base"], condition_encoder=mini.condition_encoder,
    )  # fmt: skip
    for index, caption in enumerate(captions):
        with torch.no_grad():
            text, text_mask, lyric, lyric_mask = pipe.encode_prompt(
                caption, "[Instrumental]", "cpu", audio_duration=8.0, bpm=120, keyscale="C major", timesignature="4")
            silence = mini.condition_encoder.silence_latent[:, :750]
            wanted, _ = mini.condition_encoder(text, text_mask, lyric, lyric_mask, silence, torch.zeros(1).long())
        got = states[index][mask[index]]
        torch.testing.assert_close(got, wanted[0], atol=1e-4, rtol=1e-3)


def test_start_copies_the_source(items):
    """With the start weights and noisy = source + noise, the output points from the source to the noisy state."""
    network = new_network()
    source = items[0]["mix"][:80].float()[None]
    noisy = source + torch.randn(source.shape, generator=torch.Generator().manual_seed(0))
    context = torch.cat([source, torch.zeros_like(source)], -1)
    with torch.no_grad():
        states = network.null_states(torch.zeros(1, 1, 192))
        velocity = network.velocity(noisy, torch.full((1,), 0.5), states, None, context)
    assert float(torch.corrcoef(torch.stack([velocity.flatten(), (noisy - source).flatten()]))[0, 1]) > 0.7


def run(items, folder, steps, *more, total=6):
    torch.manual_seed(0)
    options = ["--cache", str(folder), "--out", str(folder), "--steps", str(total), "--batch", "2", "--warmup", "2", *more]
    trainer = Trainer(new_network(), list(items), set(), parse(options))
    losses = [float(trainer.train_step()) for _ in range(steps)]
    return trainer, losses


def test_resume_equals_uninterrupted(items, tmp_path):
    whole, expected = run(items, tmp_path, 6)
    first, early = run(items, tmp_path, 3)
    first.progress.save(first.last_path)
    second, late = run(items, tmp_path, 3, "--resume")
    assert early + late == pytest.approx(expected, rel=1e-5)
    for a, b in zip(whole.progress.average.shadow, second.progress.average.shadow, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_encoders_that_are_held_stay_as_they_are(items, tmp_path):
    """So that sft and turbo, which share them, need not follow; without the option the encoders learn too."""
    before, held, free = new_network(), run(items, tmp_path, 2, "--hold-encoders")[0], run(items, tmp_path, 2)[0]
    for part in ("text_encoder", "condition_encoder", "transformer"):
        states = [network.trained_state()[part] for network in (before, held.network, free.network)]
        same, followed = ([torch.equal(states[0][name], state[name]) for name in states[0]] for state in states[1:])
        assert all(same) if part != "transformer" else not all(same)
        assert not all(followed)


def test_batches_drawn_ahead_are_the_same(items, tmp_path):
    """Also over the share of the budget where the tasks' weights change."""
    _, here = run(items, tmp_path, 3)
    _, ahead = run(items, tmp_path, 3, "--workers", "1")
    assert ahead == pytest.approx(here, rel=1e-6)


def test_another_seed_draws_other_batches(items, tmp_path):
    first, other = run(items, tmp_path, 1)[0], run(items, tmp_path, 1, "--seed", "1")[0]
    assert torch.equal(first.draw(5).target, first.draw(5).target)
    assert not torch.equal(first.draw(5).target[:, :80], other.draw(5).target[:, :80])


@pytest.mark.parametrize(("options", "told"), [
    (["--graphs"], "write --device cuda"), (["--no-early"], "leave it out to begin from the start"),
])  # fmt: skip
def test_what_can_not_be_is_told_at_once(tmp_path, capsys, options, told):
    with pytest.raises(SystemExit) as ended:
        parse(["--cache", str(tmp_path), "--out", str(tmp_path), *options])
    assert ended.value.code == 2 and told in capsys.readouterr().err


def test_a_cache_with_nothing_to_train_on_is_told(tmp_path, capsys):
    assert main(["--cache", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "holds 0 clips" in capsys.readouterr().err


def test_turbo_times_are_the_shifted_table():
    expected = [1.0, 21 / 22, 0.9, 5 / 6, 0.75, 9 / 14, 0.5, 0.3, 0.0]
    torch.testing.assert_close(turbo_times(), torch.tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("own_way", "half"), [(False, False), (True, False), (True, True)])
def test_distillation_has_gradient_for_the_student_only(items, own_way, half):
    teacher = new_network().eval().requires_grad_(False)
    student = new_network()
    weights = {"cover" if half else "text2music": 1.0}
    batch = draw_batch(items, 2, teacher.silence, np.random.default_rng(2), weights=weights, lengths=(80,))
    loss = distil_loss(teacher, student, batch, make_guidance("apg", scale=3.0), 2, (1,), own_way=own_way, half=half)
    loss.backward()
    assert torch.isfinite(loss) and student.transformer.proj_out_conv.weight.grad is not None
    assert all(p.grad is None for p in teacher.parameters())


def test_a_student_like_its_teacher_has_nothing_to_learn(items):
    """One unguided substep is the teacher's own velocity: the loss of an equal student is zero, of another it is not."""
    teacher = new_network().eval().requires_grad_(False)
    batch = draw_batch(items, 2, teacher.silence, np.random.default_rng(2), weights={"cover": 1.0}, lengths=(80,))
    unguided = make_guidance("none", scale=1.0)
    assert float(distil_loss(teacher, teacher, batch, unguided, 1, (1,))) < 1e-10
    other = new_network()
    with torch.no_grad():
        other.transformer.proj_out_conv.weight.mul_(1.1)
    assert float(distil_loss(teacher, other, batch, unguided, 1, (1,))) > 1e-4


def test_the_teacher_of_covers_walks_under_a_scale_for_the_source_too(items):
    teacher = new_network().eval().requires_grad_(False)
    batch = draw_batch(items, 2, teacher.silence, np.random.default_rng(2), weights={"cover": 1.0}, lengths=(80,))
    context, (states, mask) = teacher.context(batch), teacher.conditions(batch)
    x, at = torch.randn(2, 80, 64), torch.full((2,), 0.9)
    end = walk(teacher, x, 0.9, 0.8, 1, (states, mask), context,
               make_guidance("multi", scale=1.0, acoustic_scale=3.0, text_scale=2.0))  # fmt: skip
    nothing = torch.cat([teacher.silence[:80].expand(2, -1, -1), torch.ones(2, 80, 64)], dim=-1)
    null = teacher.null_states(states)
    cond, shown, empty = (teacher.velocity(x, at, s, mask, c) for s, c in ((states, context), (null, context), (null, nothing)))
    torch.testing.assert_close(end, x - 0.1 * (empty + 3 * (shown - empty) + 2 * (cond - shown)), atol=1e-4, rtol=1e-4)
    assert float((shown - empty).abs().max()) > 1e-4


@pytest.mark.slow
def test_a_minute_of_training_lowers_the_loss(items, tmp_path):
    trainer, _ = run(items, tmp_path, 0, total=60)

    def held() -> float:
        batch = draw_batch(items, 8, trainer.network.silence, np.random.default_rng(3), lengths=(80,))
        with torch.no_grad():
            return float(flow_loss(trainer.network, batch, (9,), dropout=0.0).mean())

    before = held()
    for _ in range(60):
        trainer.train_step()
    assert held() < 0.85 * before


def test_padding_for_few_shapes_changes_nothing(items):
    """Prompts, references and covers padded to a multiple give each example's own error."""
    network = new_network().eval()
    batch = draw_batch(items, 6, network.silence, np.random.default_rng(5), weights={"cover": 1.0, "text2music": 1.0},
                       lengths=(80,))  # fmt: skip
    batch.referenced = torch.tensor([1, 4])
    batch.references = torch.randn(2, 750, 64, generator=torch.Generator().manual_seed(0))
    assert 0 < len(batch.covers) < 6
    with torch.no_grad():
        expected = flow_loss(network, batch, (1,))
        batch.tokens = network.tokenize(batch, 32)
        batch.pad(32)
        assert len(batch.covers) == len(batch.references) == 32 and batch.tokens[0].shape[1] % 32 == 0
        torch.testing.assert_close(flow_loss(network, batch, (1,)), expected, rtol=1e-4, atol=1e-5)
