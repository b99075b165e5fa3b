"""Sound files: what is written comes back, the same bytes every time, never clipped silently, never half-written."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.pipeline.audio_file import (
    FORMATS,
    PEAK_CEILING,
    probe_audio,
    read_audio,
    read_tags,
    remix,
    resample,
    samples_sha256,
    write_audio,
)
from segue.pipeline.errors import RequestError, RunError
from segue.pipeline.take import Audio


def noise(channels: int = 2, samples: int = 24_000, rate_hz: int = 48_000, level: float = 0.1, seed: int = 0) -> Audio:
    x = torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed)) * level
    return Audio(x, rate_hz)


def sine(hz: float, rate_hz: int, seconds: float = 0.5, amplitude: float = 0.5) -> Audio:
    t = torch.arange(round(seconds * rate_hz), dtype=torch.float64) / rate_hz
    return Audio((amplitude * torch.sin(2 * torch.pi * hz * t)).float()[None], rate_hz)


KINDS = [("flac", "PCM_24"), ("flac", "PCM_16"), ("wav", "PCM_24"), ("wav", "PCM_16"), ("wav", "FLOAT"),
         ("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", "MPEG_LAYER_III")]


def test_every_format_offered_is_tested_here() -> None:
    assert {(f, s) for f, subs in FORMATS.items() for s in subs} == set(KINDS)


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_what_is_written_comes_back_with_the_promised_hash(tmp_path: Path, kind: str, subtype: str) -> None:
    audio = noise()
    written = write_audio(tmp_path / f"x.{kind}", audio, subtype=subtype)
    back = read_audio(written.path)
    assert back.rate_hz == audio.rate_hz and back.samples.shape == audio.samples.shape
    assert samples_sha256(back) == written.sha256
    error = (back.samples - audio.samples).abs().max().item()
    bound = {"PCM_24": 2.0**-24 * 1.001, "PCM_16": 2.0**-16 * 1.001, "FLOAT": 0.0}.get(subtype)
    if bound is not None:  # half a step of the quantiser: rounded, not cut off
        assert error <= bound
    assert written.gain_db == 0.0 and written.peak == audio.samples.abs().max().item()


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_same_samples_and_tags_give_the_same_bytes(
    tmp_path: Path, kind: str, subtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for i in range(2):
        path = tmp_path / f"{i}" / f"x.{kind}"
        write_audio(path, noise(), subtype=subtype, tags={"b": "2", "a": "1"} if i else {"a": "1", "b": "2"})
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
        if i == 0:  # libsndfile takes the time of day, in whole seconds, for some formats: let it pass
            import time

            time.sleep(1.05 if subtype in ("FLOAT", "VORBIS", "OPUS") else 0)
    assert digests[0] == digests[1]


@given(steps=st.lists(st.integers(-(2**23), 2**23 - 1), min_size=2, max_size=50), extension=st.sampled_from(["flac", "wav"]))
@settings(max_examples=30, deadline=None)
def test_24_bit_samples_survive_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, steps: list[int], extension: str) -> None:
    x = torch.tensor(steps, dtype=torch.float64).div(2**23).float()[None]
    path = tmp_path_factory.mktemp("x") / f"x.{extension}"
    write_audio(path, Audio(x, 44_100))
    assert torch.equal(read_audio(path, min_duration_s=0).samples, x)


@pytest.mark.parametrize("peak", [1.0001, 1.5, 40.0])
@pytest.mark.parametrize("extension", ["flac", "wav"])
def test_overs_are_brought_under_full_scale_by_one_recorded_gain(tmp_path: Path, peak: float, extension: str) -> None:
    audio = noise(level=1.0)
    audio = Audio(audio.samples / audio.samples.abs().max() * peak, audio.rate_hz)
    written = write_audio(tmp_path / f"x.{extension}", audio)
    back = read_audio(written.path)
    assert written.gain_db == pytest.approx(20 * np.log10(PEAK_CEILING / peak), abs=1e-6)
    assert written.peak == pytest.approx(peak)
    assert back.samples.abs().max().item() == pytest.approx(PEAK_CEILING, abs=1e-6)
    gain = 10 ** (written.gain_db / 20)
    assert torch.allclose(back.samples, audio.samples * gain, atol=2.0**-23)  # nothing is cut off


def test_full_scale_itself_is_left_alone_and_float_wav_is_raw(tmp_path: Path) -> None:
    x = torch.tensor([[1.0, -1.0, 0.5] * 1000])
    assert write_audio(tmp_path / "x.flac", Audio(x, 48_000)).gain_db == 0.0
    loud = Audio(x * 3, 48_000)
    written = write_audio(tmp_path / "x.wav", loud, subtype="FLOAT")
    assert written.gain_db == 0.0 and torch.equal(read_audio(written.path).samples, loud.samples)


def test_a_take_s_save_goes_the_same_way(tmp_path: Path) -> None:
    path = noise().save(tmp_path / "new" / "x.flac", title="Hé, 音楽")
    assert read_tags(path)["TITLE"] == "Hé, 音楽" and probe_audio(path).subtype == "PCM_24"


TAGS = {"TITLE": "Ein Lied", "COMMENT": "a\nb", "SEGUE_PRESET": "stages:\n  a: {type: x}\n" * 200, "SEGUE_INDEX": "0"}


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_tags_come_back_and_leave_the_samples_alone(tmp_path: Path, kind: str, subtype: str) -> None:
    plain = write_audio(tmp_path / f"plain.{kind}", noise(), subtype=subtype)
    tagged = write_audio(tmp_path / f"tagged.{kind}", noise(), subtype=subtype, tags={k.lower(): v for k, v in TAGS.items()})
    found = read_tags(tagged.path)
    assert {k: found.get(k) for k in TAGS} == TAGS
    assert tagged.sha256 == plain.sha256 == samples_sha256(read_audio(tagged.path))


@given(text=st.text(min_size=1, max_size=60).filter(lambda t: "\0" not in t and not any("\ud800" <= c <= "\udfff" for c in t)))
@settings(max_examples=30, deadline=None)
def test_any_text_survives_as_a_flac_tag(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("x") / "x.flac"
    write_audio(path, noise(1, 1000), tags={"note": text})
    assert read_tags(path)["NOTE"] == text


@pytest.mark.parametrize(
    "tags",
    [{"": "x"}, {"a=b": "x"}, {"a b": "x"}, {"ü": "x"}, {"a": "\0"}, {"a": "\ud800"}, {"a": "1", "A": "2"}],
)
def test_impossible_tags_are_refused_before_anything_is_written(tmp_path: Path, tags: dict[str, str]) -> None:
    with pytest.raises(RequestError):
        write_audio(tmp_path / "x.flac", noise(), tags=tags)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "channels", "rate_hz", "subtype", "said"),
    [
        ("x.flac", 9, 48_000, None, "9 channels"),
        ("x.mp3", 3, 48_000, None, "3 channels"),
        ("x.mp3", 2, 96_000, None, "96000 Hz"),
        ("x.flac", 1, 700_000, None, "700000 Hz"),
        ("x.ogg", 1, 44_100, "OPUS", "44100 Hz"),
        ("x.aac", 1, 48_000, None, ".aac"),
        ("x", 1, 48_000, None, "names no format"),
        ("x.flac", 1, 48_000, "FLOAT", "FLOAT"),
        ("x.falc", 1, 48_000, None, "Did you mean 'flac'"),
    ],
)
def test_what_a_format_cannot_hold_is_said(
    tmp_path: Path, name: str, channels: int, rate_hz: int, subtype: str | None, said: str
) -> None:
    with pytest.raises(RequestError, match=said.replace(".", r"\.")):
        write_audio(tmp_path / name, noise(channels, 1000, rate_hz), subtype=subtype)
    assert list(tmp_path.iterdir()) == []


def test_samples_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    audio = noise()
    audio.samples[1, 4800] = float("nan")
    with pytest.raises(RunError, match=r"sample 4800 \(0\.1000 s\)"):
        write_audio(tmp_path / "x.flac", audio)
    assert list(tmp_path.iterdir()) == []
    write_audio(tmp_path / "x.wav", audio, subtype="FLOAT")
    assert np.isnan(sf.read(tmp_path / "x.wav")[0][4800, 1])


def test_an_old_file_stays_whole_when_a_new_one_fails(tmp_path: Path) -> None:
    first = write_audio(tmp_path / "x.flac", noise())
    before = first.path.read_bytes()
    (tmp_path / "blocked").write_text("a file, not a folder")
    with pytest.raises(RunError, match="is a file, not a folder"):
        write_audio(tmp_path / "blocked" / "x.flac", noise())
    bad = noise(seed=1)
    bad.samples[0, 0] = float("inf")
    with pytest.raises(RunError):
        write_audio(first.path, bad)
    assert first.path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blocked", "x.flac"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_file_larger_than_the_disk_allows_leaves_nothing(tmp_path: Path) -> None:
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(RunError, match="could not write"):
            write_audio(tmp_path / "x.wav", noise())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match=r"may not write|read-only"):
        write_audio(tmp_path / "x.flac", noise())


def test_probe_reads_the_header_only(tmp_path: Path) -> None:
    write_audio(tmp_path / "x.flac", noise(2, 96_000, 32_000))
    facts = probe_audio(tmp_path / "x.flac")
    assert (facts.duration_s, facts.frames, facts.rate_hz, facts.channels) == (3.0, 96_000, 32_000, 2)
    assert (facts.format, facts.subtype) == ("FLAC", "PCM_24")
    data = (tmp_path / "x.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    assert probe_audio(tmp_path / "cut.flac").duration_s == 3.0


# -- resample and remix ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate_from", "rate_to"), [(44_100, 48_000), (48_000, 44_100), (8_000, 48_000), (192_000, 48_000), (22_050, 24_000)]
)
def test_a_tone_keeps_its_frequency_level_and_phase(rate_from: int, rate_to: int) -> None:
    there = resample(sine(997.0, rate_from), rate_to)
    ideal = sine(997.0, rate_to)
    assert there.samples.shape == ideal.samples.shape
    inner = slice(rate_to // 20, -rate_to // 20)
    assert (there.samples[:, inner] - ideal.samples[:, inner]).abs().max() < 1e-4


def test_nothing_above_the_new_half_rate_survives() -> None:
    gone = resample(sine(10_000.0, 48_000), 16_000).samples[:, 1000:-1000]
    assert gone.abs().max() < 1e-5  # aliasing would leave a tone at 6 kHz


RATES = st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000])


@given(samples=st.integers(1, 3000), rates=st.tuples(RATES, RATES))
@settings(max_examples=40, deadline=None)
def test_the_length_is_the_rounded_ratio(samples: int, rates: tuple[int, int]) -> None:
    out = resample(noise(1, samples, rates[0]), rates[1])
    assert out.samples.shape[-1] == max(1, round(samples * rates[1] / rates[0])) and out.samples.dtype == torch.float32


def test_the_same_rate_or_count_is_the_same_object() -> None:
    audio = noise()
    assert resample(audio, 48_000) is audio and remix(audio, 2) is audio


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("target", [1, 2])
def test_a_sound_equal_in_all_channels_keeps_its_level(channels: int, target: int) -> None:
    mono = noise(1)
    everywhere = Audio(mono.samples.expand(channels, -1).clone(), 48_000)
    assert torch.allclose(remix(everywhere, target).samples, mono.samples.expand(target, -1), atol=1e-6)


def test_left_stays_left_and_the_centre_is_shared() -> None:
    x = torch.zeros(6, 4)
    x[0, 0], x[2, 1], x[3, 2], x[5, 3] = 1.0, 1.0, 1.0, 1.0  # left, centre, low frequencies, back right
    out = remix(Audio(x, 48_000), 2).samples
    assert out[0, 0] > 0 and out[1, 0] == 0
    assert out[0, 1] == out[1, 1] > 0
    assert out[0, 2] == out[1, 2] == 0
    assert out[0, 3] == 0 < out[1, 3]
    assert out[0, 1] / out[0, 0] == pytest.approx(2**-0.5)


def test_up_and_impossible_counts() -> None:
    stereo = noise(2)
    assert torch.equal(remix(stereo, 1).samples, stereo.samples.mean(0, keepdim=True))
    up = remix(stereo, 4).samples
    assert torch.equal(up[:2], stereo.samples) and not up[2:].any()
    with pytest.raises(RequestError, match="9 channels"):
        remix(noise(9), 2)
    with pytest.raises(RequestError, match="can't become 3"):
        remix(noise(6), 3)
