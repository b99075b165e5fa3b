"""The autoencoder's start and trainer: the lean view equals diffusers' class, latents are normalised, resume is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segue.scoring.reference import log_spectral_distance, si_sdr
from segue.training.autoencoder import train
from segue.training.autoencoder.lean import decode, encode_mean, is_silent, mark_silent_units
from segue.training.autoencoder.losses import error_db, log_spectral_db
from segue.training.autoencoder.start import fold_normalisation, latent_statistics, start_autoencoder, trained_parameters
from segue.training.autoencoder.weigh import gains, worth
from segue.training.corpus import make_clip
from segue.training.mini import make_vae


@pytest.fixture(scope="module")
def clips():
    return [train.load_clip(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def built(clips):
    torch.manual_seed(0)
    mixes = torch.stack([train.mix_of(stems)[:, :96_000] for stems in clips])
    vae = make_vae().eval()
    start_autoencoder(vae, mixes)
    return vae, mixes


def test_lean_view_equals_the_class(built):
    vae, mixes = built
    samples = mixes[:1, :, :9600]
    with torch.no_grad():
        posterior = vae.encode(samples).latent_dist
        torch.testing.assert_close(encode_mean(vae, samples), posterior.mean, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(decode(vae, posterior.mean), vae.decode(posterior.mean).sample, atol=2e-5, rtol=1e-4)
    assert 0.02 < float(posterior.std.mean()) < 0.04


def test_latents_are_normalised_and_25_hz(built):
    vae, mixes = built
    with torch.no_grad():
        latents = encode_mean(vae, mixes)
    assert latents.shape == (6, 64, 100)
    assert float(latents.mean((0, 2)).abs().max()) < 1e-2
    assert float((latents.std((0, 2)) - 1).abs().max()) < 2e-2


def test_the_start_restores_waveform_and_hiss(built):
    """Principal components already give the waveform; the carriers give the level of the corpus' hiss where it is quiet."""
    vae, mixes = built
    with torch.no_grad():
        restored = decode(vae, encode_mean(vae, mixes))
        silence = decode(vae, encode_mean(vae, torch.zeros(1, 2, 48_000)))[..., 4800:-4800]
    assert restored.shape == mixes.shape
    assert np.mean([si_sdr(a, b, 24_000) for a, b in zip(mixes, restored, strict=True)]) > 6.0
    high = torch.stft(silence.mean(1), 1024, window=torch.hann_window(1024), return_complex=True)[0, 350:].abs()
    assert -85 < 10 * float(torch.log10(high.pow(2).mean() / (1024 * 0.375))) < -60


def test_energies_hear_what_the_components_cannot(built):
    """A burst of high noise moves the energy latents, hardly the components."""
    vae, mixes = built
    noise = np.diff(np.random.default_rng(0).standard_normal((1, 2, 9603)), n=3, axis=-1).astype(np.float32)
    samples = mixes[:1, :, :9600]
    with torch.no_grad():
        moved = (encode_mean(vae, samples + 0.01 * torch.from_numpy(noise)) - encode_mean(vae, samples)).abs().mean((0, 2))
    assert float(moved[-10:].mean()) > 3 * float(moved[:20].mean())


def test_normalisation_changes_nothing_but_the_latents(built):
    vae, mixes = built
    other = make_vae()
    other.load_state_dict(vae.state_dict())
    mark_silent_units(other)
    with torch.no_grad():
        before = decode(other, encode_mean(other, mixes[:1]))
        fold_normalisation(other, torch.full((64,), 0.3), torch.full((64,), 1.7))
        after = decode(other, encode_mean(other, mixes[:1]))
    # at the edges the padding of normalised latents stands for another value
    torch.testing.assert_close(before[..., 9600:-9600], after[..., 9600:-9600], atol=1e-5, rtol=1e-4)
    mean, std = latent_statistics(other, mixes)
    assert float((mean - (0 - 0.3) / 1.7).abs().max()) < 0.02 and float((std - 1 / 1.7).abs().max()) < 0.02


def test_silent_units_are_never_trained(built):
    vae, _ = built
    trained = {id(p) for p in trained_parameters(vae)}
    units = [m for m in vae.modules() if type(m).__name__ == "OobleckResidualUnit"]
    silent = [unit for unit in units if is_silent(unit)]
    assert len(silent) == 9 and len(units) == 24
    assert not any(id(p) in trained for unit in silent for p in unit.parameters())
    assert all(id(p) in trained for unit in units if not is_silent(unit) for p in unit.parameters())


def trainer(clips, folder, *options):
    torch.manual_seed(0)
    vae = make_vae()
    mixes = torch.stack([train.mix_of(stems) for stems in clips])
    start_autoencoder(vae, mixes)
    args = train.parse(["--out", str(folder), "--batch", "1", "--frames", "12", "--clips", "6", *options])
    return train.Trainer(vae, list(clips), clips[:1], args), mixes


def test_resume_equals_uninterrupted(clips, tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    whole, _ = trainer(clips, tmp_path / "a", "--steps", "4")
    expected = [whole.train_step() for _ in range(4)]
    first, mixes = trainer(clips, tmp_path / "b", "--steps", "4")
    early = [first.train_step() for _ in range(2)]
    first.checkpoint(mixes)
    second, _ = trainer(clips, tmp_path / "b", "--steps", "4", "--resume")
    late = [second.train_step() for _ in range(2)]
    assert np.array(early + late) == pytest.approx(np.array(expected), rel=1e-4)
    for a, b in zip(whole.progress.average.shadow, second.progress.average.shadow, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_a_corpus_that_stays_is_still_the_same_after_a_resume(clips, tmp_path):
    first, mixes = trainer(clips, tmp_path, "--steps", "4", "--workers", "1")
    first.train_step()
    first.checkpoint(mixes)
    second, _ = trainer(clips, tmp_path, "--steps", "4", "--workers", "1", "--resume")
    assert all(a is b for a, b in zip(second.clips, clips, strict=True))


def test_written_weights_are_normalised(clips, tmp_path):
    made, mixes = trainer(clips, tmp_path, "--steps", "2")
    made.train_step()
    made.checkpoint(mixes)
    vae = make_vae()
    vae.load_state_dict(torch.load(tmp_path / "vae.pt", weights_only=True))
    mark_silent_units(vae)
    mean, std = latent_statistics(vae, mixes)
    assert float(mean.abs().max()) < 1e-3 and float((std - 1).abs().max()) < 1e-3


def test_going_on_starts_where_the_weights_ended(clips, tmp_path, monkeypatch):
    """Weighed latents come back to deviation 1 and the same sound; the floor of the spectral loss is the last one."""
    made, mixes = trainer(clips, tmp_path, "--steps", "2")
    fold_normalisation(made.vae, torch.zeros(64), torch.linspace(0.5, 2.0, 64))
    torch.save(made.vae.state_dict(), tmp_path / "trained.pt")
    found = []
    monkeypatch.setattr(train.Trainer, "run", lambda self, _: found.append(self))
    options = ["--out", str(tmp_path), "--clips", "6", "--first-seed", "0", "--batch", "1", "--frames", "12", "--steps", "4"]
    assert train.main([*options, "--workers", "1", "--go-on", str(tmp_path / "trained.pt")]) == 0
    (second,) = found
    mean, std = latent_statistics(second.vae, mixes)
    assert float(mean.abs().max()) < 0.05 and float((std - 1).abs().max()) < 0.05
    with torch.no_grad():
        expected = decode(made.vae, encode_mean(made.vae, mixes[:1]))
        torch.testing.assert_close(decode(second.vae, encode_mean(second.vae, mixes[:1])), expected, atol=1e-4, rtol=1e-3)
    floors = []
    monkeypatch.setattr(second, "loss", lambda *inputs: floors.append(float(inputs[-1])) or train.autoencoder_loss(*inputs))
    second.train_step()
    assert floors == [pytest.approx(1e-9)]


def test_a_held_encoder_keeps_every_latent(clips, tmp_path, monkeypatch, capsys):
    """The decoder alone learns, on noise in proportion to each latent; the encoder is written byte for byte as it came."""
    made, _ = trainer(clips, tmp_path, "--steps", "2")
    fold_normalisation(made.vae, torch.zeros(64), torch.linspace(0.5, 2.0, 64))
    before = {name: value.clone() for name, value in made.vae.state_dict().items()}
    torch.save(before, tmp_path / "trained.pt")
    options = ["--out", str(tmp_path), "--clips", "6", "--first-seed", "0", "--batch", "1", "--frames", "12", "--steps", "2"]
    noises = []
    plain = train.autoencoder_loss
    monkeypatch.setattr(train, "judge", lambda *_: {})
    monkeypatch.setattr(train, "autoencoder_loss", lambda *inputs: noises.append(inputs[2]) or plain(*inputs))
    assert train.main([*options, "--workers", "1", "--hold-encoder", "--go-on", str(tmp_path / "trained.pt")]) == 0
    after = torch.load(tmp_path / "vae.pt", weights_only=True)
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert all(torch.isfinite(value).all() for value in after.values())
    assert moved and all(name.startswith("decoder.") for name in moved)
    spread = torch.cat(noises).std((0, 2))
    assert float(spread[:16].mean() / spread[48:].mean()) == pytest.approx(2.7, rel=0.25)  # deviations 2 … 0.5 over 64 channels
    with pytest.raises(SystemExit):
        train.parse(["--out", str(tmp_path), "--hold-encoder"])
    assert "say which with --go-on VAE" in capsys.readouterr().err


def test_distances_against_closed_forms():
    tone = torch.sin(torch.arange(24_000) * 0.1).expand(1, 2, -1)
    noise = torch.randn(1, 2, 24_000, generator=torch.Generator().manual_seed(0))
    assert float(log_spectral_db(0.1 * noise, noise)) == pytest.approx(20.0, abs=0.1)
    scaled = tone + noise * (tone.norm() / noise.norm()) * 0.1
    assert float(error_db(scaled, tone)) == pytest.approx(10 * np.log10(0.01 + 2e-3), abs=0.05)
    assert float(error_db(torch.zeros_like(tone), tone)) == pytest.approx(0.0, abs=0.05)


def test_two_noises_are_eight_decibels_apart():
    """The distance of two independent noises of one spectrum: the log of a ratio of exponentials has deviation π/√3 nepers."""
    a, b = torch.randn(2, 1, 2, 96_000, generator=torch.Generator().manual_seed(1)).unbind(0)
    assert 10 * log_spectral_distance(a[0], b[0], 24_000) == pytest.approx(10 * np.pi / 3**0.5 / np.log(10), rel=0.03)


def test_int16_clips_keep_the_mix():
    clip = make_clip(3, 1.0)
    stems = {name: (stem.clip(-1, 1) * 32767).astype(np.int16) for name, stem in clip.stems.items()}
    np.testing.assert_allclose(train.mix_of(stems).numpy(), clip.samples, atol=3e-4)


def test_weighing_changes_deviations_and_no_sound(built):
    vae, mixes = built
    weighed = make_vae()
    weighed.load_state_dict(vae.state_dict())
    mark_silent_units(weighed)
    with torch.no_grad():
        latents = encode_mean(vae, mixes[:3, :, :24_000])
        values = worth(vae, latents)
        factors = gains(values)
        fold_normalisation(weighed, torch.zeros_like(factors), 1 / factors)
        again = encode_mean(weighed, mixes[:3, :, :24_000])
        torch.testing.assert_close(again, latents * factors[:, None], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(decode(weighed, again), decode(vae, latents), atol=1e-4, rtol=1e-3)
    assert float(values.mean()) == pytest.approx(2.0, rel=1e-4)
    assert float(factors.pow(2).mean()) == pytest.approx(1.0, rel=1e-4)
    assert bool((factors[values.argsort()].diff() >= 0).all()) and float(factors.min()) > 0
    assert torch.isfinite(gains(torch.tensor([0.0, 1.0, 3.0]))).all() and float(gains(torch.tensor([0.0, 1.0]))[0]) > 0
    torch.testing.assert_close(gains(values, power=0.0), torch.ones_like(values))
