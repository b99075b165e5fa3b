"""What a single instrument or a choir does, and is no defect: held notes, a register without bass, the hiss of its samples,
the steps of a quiet ending."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.defect_sounds import RATE, found

SECONDS = 8
NOISE_HZ = np.maximum(np.fft.rfftfreq(SECONDS * RATE, 1 / RATE), 20.0)


def shaped(db: np.ndarray) -> np.ndarray:
    """Noise that falls by 5 dB an octave, lifted by so much at each of `NOISE_HZ`, at −20 dBFS."""
    z = np.fft.rfft(np.random.default_rng(0).standard_normal(SECONDS * RATE))
    x = np.fft.irfft(z * 10 ** ((db - 5 * np.log2(NOISE_HZ / 250)) / 20))
    return np.tile((0.1 * x / x.std()).astype(np.float32), (2, 1))


@pytest.mark.parametrize("octaves_hz", [(880.0, 1_760.0), (880.0, 1_760.0, 3_520.0)])
def test_what_stands_out_at_its_octaves_too_is_a_held_note(octaves_hz: tuple[float, ...]) -> None:
    """A note that many voices hold fills a quarter tone to either side, at each of its partials; a resonance is at one place."""

    def lifted(*bands_hz: float) -> np.ndarray:
        near = [np.abs(np.log2(NOISE_HZ / hz)) < 1 / 40 for hz in bands_hz]
        return shaped(np.where(np.any(near, axis=0), 14.0, 0.0))

    (defect,) = found(lifted(1_760.0), "harsh")
    assert defect.evidence["resonance_hz"] == pytest.approx(1_760, rel=0.01)
    assert found(lifted(*octaves_hz), "harsh") == []


@pytest.mark.parametrize(("below_db", "above_db", "is_mud"), [(-10.0, -10.0, True), (-18.0, -1.0, False), (-1.0, -18.0, False)])
def test_a_register_with_nothing_on_one_side_is_no_mud(below_db: float, above_db: float, is_mud: bool) -> None:
    """200 to 500 Hz stand 9.5 dB and more over the mean of both sides each time."""
    x = shaped(np.where(NOISE_HZ < 170, below_db, np.where(NOISE_HZ > 580, above_db, 0.0)))
    assert bool(found(x, "muddy")) == is_mud


@pytest.mark.parametrize(("under_db", "told"), [(-36.5, False), (-29.5, True)])
def test_the_hiss_of_samples_is_no_noise(under_db: float, told: bool) -> None:
    """At −18 LUFS: 59 dB under full scale is what a recorded instrument brings with it, and 52 is heard."""
    rng, t = np.random.default_rng(1), np.arange(SECONDS * RATE) / RATE
    notes = np.sin(2 * np.pi * 220 * t) * np.exp(-(t % 0.5) / 0.2)
    x = notes + rng.standard_normal((2, t.size)) * notes.std() * 10 ** (under_db / 20)
    assert bool(found(x.astype(np.float32), "noise")) == told


@pytest.mark.parametrize("seed", range(4))
def test_steps_of_a_quiet_sixteen_bit_ending_are_not_clipped(seed: int) -> None:
    """Crests of 30 quantisation steps are flat for want of finer ones, whatever fades out in finer ones after them."""
    rng, t = np.random.default_rng(seed), np.arange(4 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * hz * t + turn) for hz, turn in zip((131, 196, 330, 523), rng.uniform(0, 6, 4), strict=True))
    coarse = np.round(30 * chord / np.abs(chord).max()) / 32_768
    fading = coarse * np.clip((t[-1] - t) / 0.5, 0, 1)
    assert found(fading[None].astype(np.float32), "clipping") == []
