"""Degrade: each effect against its closed form, everything drawn is recorded, the seed decides all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from segue.pipeline.context import Job, Result
from segue.pipeline.keys import noise as draw_noise
from segue.pipeline.spec import Prompt
from segue.pipeline.take import Audio, Signal, Take
from segue.stages.degrade import Degrade
from segue.stages.degrade_codecs import round_trip
from segue.stages.degrade_effects import add_noise, design, low_pass, pink, quantise, reverberate
from segue.stages.degrade_ranges import Draws

RATE_HZ = 48_000
FILTERS = ("chebyshev1", "butterworth", "bessel", "elliptic")


class Surroundings:
    """What `degrade` asks of a context, for real: audio as the take has it, noise as the executor draws it."""

    stage = "worse"

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def audio(self, take: Take, rate_hz: int | None = None, channels: int | None = None) -> Audio:
        return take.signal.audio()

    def noise(self, seed: int, purpose: str, step: int, shape: Sequence[int]) -> torch.Tensor:
        return draw_noise(seed, purpose, step, shape)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def white(seconds: float = 1.0, channels: int = 2, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, round(seconds * rate_hz)))).astype(np.float32)


def degraded(x: np.ndarray, rate_hz: int = RATE_HZ, seed: int = 7, ctx: Any = None, **effects: Any) -> Result:
    take = Take("in", 0, 0, Prompt(), "k", Signal(Audio(torch.from_numpy(x.copy()), rate_hz)))
    job = Job(0, seed, Prompt(), {"source": take}, "k")
    (result,) = Degrade(source="clip", **effects).run([job], ctx or Surroundings())
    assert result.audio is not None and result.audio.samples.shape == x.shape and result.audio.rate_hz == rate_hz
    assert result.audio.samples.dtype == torch.float32
    return result


def samples(result: Result) -> np.ndarray:
    assert result.audio is not None
    return result.audio.samples.numpy()


def gain_at(before: np.ndarray, after: np.ndarray, hz: float) -> complex:
    """Transfer at one frequency of a steady sine, from the middle half of the sound."""
    n = before.shape[-1]
    part = slice(n // 4, 3 * n // 4)
    t = np.arange(n)[part] / RATE_HZ
    probe = np.exp(-2j * np.pi * hz * t)
    return complex((after[0, part] * probe).sum() / (before[0, part] * probe).sum())


# -- low-pass ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("order", [2, 5, 10])
def test_the_response_is_the_square_of_one_pass_and_has_no_phase(kind: Any, order: int) -> None:
    cutoff_hz = 4000.0
    sos = design(kind, order, cutoff_hz, RATE_HZ)
    for hz in (500.0, 2000.0, 4000.0, 5000.0):
        z = np.exp(-2j * np.pi * hz / RATE_HZ)
        one = np.prod([(s[0] + s[1] * z + s[2] * z**2) / (s[3] + s[4] * z + s[5] * z**2) for s in sos])
        t = np.arange(RATE_HZ) / RATE_HZ
        x = np.sin(2 * np.pi * hz * t, dtype=np.float64).astype(np.float32)[None]
        y = low_pass(x, RATE_HZ, cutoff_hz, filter=kind, order=order, ripple_db=0.5, stopband_db=40.0, resampled=False)
        measured = gain_at(x, y, hz)
        assert measured.real == pytest.approx(abs(one) ** 2, abs=2e-4)
        assert abs(measured.imag) < 2e-4  # zero phase


@pytest.mark.parametrize(("kind", "db"), [("butterworth", 6.02), ("bessel", 6.02), ("chebyshev1", 1.0), ("elliptic", 1.0)])
def test_the_cut_off_is_where_the_docs_say(kind: Any, db: float) -> None:
    t = np.arange(RATE_HZ) / RATE_HZ
    x = np.sin(2 * np.pi * 4000 * t).astype(np.float32)[None]
    y = low_pass(x, RATE_HZ, 4000.0, filter=kind, order=6, ripple_db=0.5, stopband_db=40.0, resampled=False)
    assert 20 * np.log10(abs(gain_at(x, y, 4000.0))) == pytest.approx(-db, abs=0.02)


@pytest.mark.parametrize("cutoff_hz", [2000, 5000, 16_000])
@pytest.mark.parametrize("kind", FILTERS)
def test_with_resampling_nothing_is_left_above(kind: str, cutoff_hz: int) -> None:
    x = white(2.0)
    y = samples(degraded(x, low_pass={"filter": kind, "order": 4, "cutoff_hz": cutoff_hz}))
    hz = np.fft.rfftfreq(x.shape[1], 1 / RATE_HZ)
    spectrum = np.abs(np.fft.rfft(y * np.hanning(y.shape[1])))
    kept = spectrum[:, (hz > 200) & (hz < 0.5 * cutoff_hz)].mean()
    assert spectrum[:, hz > 1.1 * cutoff_hz].max() < 1e-3 * kept
    assert np.corrcoef(x[0], y[0])[0, 1] > 0.8 * np.sqrt(cutoff_hz / 24_000) * 0.9  # still in time with the source


@given(rate_hz=st.sampled_from([8000, 11_025, 22_050, 44_100, 48_000, 192_000]), seed=st.integers(0, 2**63 - 1))
@settings(max_examples=25, deadline=None)
def test_drawn_parameters_are_in_range_and_under_the_limit(rate_hz: int, seed: int) -> None:
    result = degraded(white(0.1, 1, rate_hz), rate_hz, seed, low_pass={})
    drawn = result.facts["low_pass"]
    assert drawn["filter"] in FILTERS and 2 <= drawn["order"] <= 10
    asked = drawn.get("cutoff_asked_hz", drawn["cutoff_hz"])
    assert 2000 <= asked <= 16_000
    assert drawn["cutoff_hz"] == min(asked, 0.45 * rate_hz)
    assert drawn["resample_hz"] == round(2 * drawn["cutoff_hz"])
    assert np.isfinite(samples(result)).all()


def test_the_whole_range_is_drawn_from_evenly() -> None:
    drawn = [Draws(seed, "x") for seed in range(400)]
    cutoffs = [d.number("cutoff_hz", (2000.0, 16_000.0)) for d in drawn]
    assert np.mean(cutoffs) == pytest.approx(9000, abs=600) and min(cutoffs) < 2300 and max(cutoffs) > 15_700
    orders = [d.whole("order", (2, 10)) for d in drawn]
    assert set(orders) == set(range(2, 11))
    assert {d.choice("filter", FILTERS) for d in drawn} == set(FILTERS)


# -- the other effects -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 8, 16, 24])
def test_quantiser_error_is_at_most_half_a_step(bits: int) -> None:
    x = white() * 5
    y = quantise(x, bits)
    step = 2.0 ** (1 - bits)
    assert np.abs(y - x).max() <= step / 2 + 1e-7
    assert np.abs(y / step - np.rint(y / step)).max() < 1e-6
    assert np.array_equal(quantise(y, bits), y)


@pytest.mark.parametrize("drive_db", [0.0, 6.0, 24.0])
def test_clipping_cuts_exactly_what_is_above_full_scale(drive_db: float) -> None:
    x = white()
    result = degraded(x, clip_db=drive_db)
    y, facts = samples(result), result.facts["clip_db"]
    gain = 10 ** (facts["gain_db"] / 20)
    assert gain * np.abs(x).max() == pytest.approx(10 ** (drive_db / 20), rel=1e-5)
    assert np.allclose(y, np.clip(x * gain, -1, 1), atol=1e-6)
    if drive_db > 0:
        assert (np.abs(y) == 1.0).sum() == (np.abs(x * np.float32(gain)) >= 1.0).sum() > 1


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [-6.0, 0.0, 20.0, 60.0])
def test_noise_is_exactly_so_far_below(colour: str, snr_db: float) -> None:
    x = white()
    noise = samples(degraded(x, noise={"snr_db": snr_db, "colour": colour})).astype(np.float64) - x
    measured = 10 * np.log10((x.astype(np.float64) ** 2).sum() / (noise**2).sum())
    assert measured == pytest.approx(snr_db, abs=0.01)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.1  # its own in each channel


def test_pink_falls_three_decibels_an_octave() -> None:
    shaped = pink(np.random.default_rng(0).standard_normal((1, 20 * RATE_HZ)), RATE_HZ)
    power, hz = np.abs(np.fft.rfft(shaped[0])) ** 2, np.fft.rfftfreq(shaped.shape[1], 1 / RATE_HZ)
    octaves = [10 * np.log10(power[(hz >= f) & (hz < 2 * f)].mean()) for f in 100.0 * 2.0 ** np.arange(7)]
    assert np.allclose(np.diff(octaves), -3.01, atol=0.3)


def test_silence_stays_silence() -> None:
    x = np.zeros((2, 4800), np.float32)
    for effects in ({"noise": {"snr_db": 10}}, {"clip_db": 12}, {"low_pass": {}}, {"bit_depth": 4}, {"reverb": {}},
                    {"codec": {"format": "opus"}}):
        assert not samples(degraded(x, **effects)).any() or effects.keys() == {"codec"}
    assert add_noise(x, white(0.1), RATE_HZ, snr_db=0, colour="white") is x


@pytest.mark.parametrize("rt60_s", [0.3, 1.0])
def test_the_room_decays_by_sixty_decibels_in_its_time(rt60_s: float) -> None:
    click = np.zeros((1, 2 * RATE_HZ), np.float32)
    click[0, 0] = 1.0
    normal = np.random.default_rng(0).standard_normal((1, round(rt60_s * RATE_HZ)))
    tail = reverberate(click, normal, RATE_HZ, rt60_s=rt60_s, wet=1.0)[0].astype(np.float64)
    assert (tail**2).sum() == pytest.approx(1.0, rel=1e-5)
    window = round(0.02 * RATE_HZ)
    level = 10 * np.log10((tail[: len(normal[0]) // window * window].reshape(-1, window) ** 2).mean(1))
    t = (np.arange(len(level)) + 0.5) * 0.02
    slope = np.polyfit(t, level, 1)[0]
    assert slope == pytest.approx(-60 / rt60_s, rel=0.05)


def test_a_dry_room_is_the_identity() -> None:
    x = white()
    assert np.allclose(samples(degraded(x, reverb={"wet": 0})), x, atol=1e-7)


# -- codecs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["mp3", "vorbis", "opus"])
@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 24_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("kbps", [24.0, 128.0])
def test_a_codec_round_trip_is_in_time_and_of_equal_length(codec: Any, rate_hz: int, kbps: float) -> None:
    from scipy.signal import butter, correlate, sosfilt

    x = sosfilt(butter(4, 1500, fs=rate_hz, output="sos"), white(1.0, 1, rate_hz)).astype(np.float32)
    back = round_trip(x, rate_hz, codec, bitrate_kbps=kbps, quality=0.3)
    assert back.samples.shape == x.shape
    lag = int(correlate(back.samples[0], x[0], method="fft").argmax()) - (x.shape[1] - 1)
    assert abs(lag) <= (1e-4 * rate_hz if codec == "opus" else 1)  # Opus' speech mode is 0.05 ms early
    assert np.corrcoef(back.samples[0], x[0])[0, 1] > 0.8


def test_the_bit_rate_asked_for_is_the_one_that_comes() -> None:
    x = white(2.0)
    for codec, kbps in (("mp3", 64.0), ("mp3", 192.0), ("opus", 64.0)):
        back = round_trip(x, RATE_HZ, codec, bitrate_kbps=kbps, quality=0.5)  # type: ignore[arg-type]
        assert back.asked_kbps == kbps and back.actual_kbps == pytest.approx(kbps, rel=0.12)
    assert round_trip(x, RATE_HZ, "mp3", bitrate_kbps=70.0, quality=0).asked_kbps == 64.0
    rough, fine = (round_trip(x, RATE_HZ, "vorbis", bitrate_kbps=64, quality=q).actual_kbps for q in (0.0, 0.9))
    assert rough < 0.5 * fine


def test_overs_and_many_channels_survive_a_codec() -> None:
    x = white(0.5, 5) * 30
    for codec in ("mp3", "vorbis", "opus"):
        y = samples(degraded(x, codec={"format": codec, "bitrate_kbps": 320, "quality": 1}))
        assert np.abs(y).max() > 1.5 and all(np.corrcoef(a, b)[0, 1] > 0.6 for a, b in zip(x, y, strict=True))


# -- seeds, facts, requests --------------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "reverb": {"rt60_s": [0.2, 0.5], "wet": [0.1, 0.4]}, "noise": {"snr_db": [10, 30], "colour": ["white", "pink"]},
    "clip_db": [0, 6], "low_pass": {}, "bit_depth": [6, 12],
    "codec": {"format": ["mp3", "vorbis", "opus"], "bitrate_kbps": [32, 128], "quality": [0, 0.5]},
}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    x = white(0.5)
    first, again, other = (degraded(x, seed=s, **EVERYTHING) for s in (1, 1, 2))
    assert np.array_equal(samples(first), samples(again)) and first.facts == again.facts
    assert not np.array_equal(samples(first), samples(other)) and first.facts != other.facts


def test_every_effect_is_applied_in_the_documented_order_and_recorded() -> None:
    facts = degraded(white(0.5), **EVERYTHING).facts
    assert list(facts) == ["reverb", "noise", "clip_db", "low_pass", "bit_depth", "codec"]
    assert 0.2 <= facts["reverb"]["rt60_s"] <= 0.5 and 6 <= facts["bit_depth"]["bits"] <= 12


def test_adding_an_effect_does_not_change_what_another_draws() -> None:
    x = white(0.2)
    alone, together = degraded(x, low_pass={}), degraded(x, low_pass={}, noise={"snr_db": [10, 20]}, bit_depth=[4, 8])
    assert alone.facts["low_pass"] == together.facts["low_pass"]


def test_recorded_facts_are_enough_to_do_it_again() -> None:
    x = white(0.3)
    drawn = degraded(x, low_pass={}, bit_depth=[4, 12])
    low = drawn.facts["low_pass"]
    fixed = degraded(
        x, seed=99, bit_depth=drawn.facts["bit_depth"]["bits"],
        low_pass={k: low[k] for k in ("filter", "order", "cutoff_hz", "ripple_db", "stopband_db")},
    )
    assert np.array_equal(samples(drawn), samples(fixed))


def test_the_source_is_not_touched() -> None:
    x = white(0.3)
    audio = Audio(torch.from_numpy(x.copy()), RATE_HZ)
    take = Take("in", 0, 0, Prompt(), "k", Signal(audio))
    Degrade(source="c", **EVERYTHING).run([Job(0, 3, Prompt(), {"source": take}, "k")], Surroundings())
    assert np.array_equal(audio.samples.numpy(), x)


def test_samples_that_are_no_numbers_pass_with_a_warning() -> None:
    x = white(0.2)
    x[0, 5] = np.nan
    ctx = Surroundings()
    assert np.array_equal(samples(degraded(x, ctx=ctx, **EVERYTHING)), x, equal_nan=True) and len(ctx.warnings) == 1


@pytest.mark.parametrize("samples_", [1, 2, 30])
def test_very_short_sounds(samples_: int) -> None:
    degraded(white(1.0)[:, :samples_].copy(), **EVERYTHING)


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ({}, "nothing to do"),
        ({"low_pass": {"cutoff_hz": 1000}}, "1000 Hz is outside 2000 to 16000 Hz"),
        ({"low_pass": {"cutoff_hz": [9000, 3000]}}, "runs backwards"),
        ({"low_pass": {"order": 11}}, "11 is outside 2 to 10"),
        ({"low_pass": {"filter": "cheby"}}, "chebyshev1"),
        ({"low_pass": {"filter": []}}, "at least 1 item"),
        ({"low_pass": {"cutof_hz": 4000}}, "cutof_hz"),
        ({"bit_depth": 1}, "1 bits is outside"),
        ({"bit_depth": 7.5}, "fractional"),
        ({"noise": {}}, "snr_db"),
        ({"noise": {"snr_db": float("nan")}}, "finite|outside"),
        ({"reverb": {"wet": 1.5}}, "outside 0 to 1"),
        ({"codec": {"format": "aac"}}, "mp3"),
    ],
)
def test_wrong_requests_are_refused(effects: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Degrade(source="clip", **effects)
