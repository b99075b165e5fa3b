"""Bad input files (and some that only look bad): each one clear error, or the sensible result."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from segue.pipeline.audio_file import probe_audio, read_audio
from segue.pipeline.errors import RequestError

RATE_HZ = 48_000


def noise(samples: int = RATE_HZ, channels: int = 2) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((samples, channels))


def refused(path: Path, **limits: float) -> str:
    """The message of the one problem a file is refused for; it names the file and says what to do."""
    with pytest.raises(RequestError) as caught:
        read_audio(path, **limits)
    (problem,) = caught.value.problems
    assert caught.value.exit_code == 2
    assert str(path) in problem.cause and problem.fix
    return problem.cause


def test_missing_file(tmp_path: Path) -> None:
    sf.write(tmp_path / "song.wav", noise(), RATE_HZ)
    assert "does not exist. Did you mean 'song.wav'?" in refused(tmp_path / "sogn.wav")
    assert "no folder" in refused(tmp_path / "nowhere" / "song.wav")


def test_a_folder_and_a_device(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)
    if Path("/dev/null").exists():
        assert "device" in refused(Path("/dev/null"))


def test_empty_file_and_empty_sound(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    assert "empty (0 bytes)" in refused(tmp_path / "empty.wav")
    for name in ("none.wav", "none.aiff"):
        sf.write(tmp_path / name, np.zeros((0, 2)), RATE_HZ)
        assert "no samples" in refused(tmp_path / name)


def test_silence_is_sound(tmp_path: Path) -> None:
    sf.write(tmp_path / "silent.flac", np.zeros((RATE_HZ, 2)), RATE_HZ)
    audio = read_audio(tmp_path / "silent.flac")
    assert audio.samples.shape == (2, RATE_HZ) and not audio.samples.any()


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_samples_that_are_no_numbers(tmp_path: Path, value: float, word: str) -> None:
    x = noise()
    x[12_000, 1] = value
    x[13_000, 0] = value
    sf.write(tmp_path / "bad.wav", x, RATE_HZ, subtype="FLOAT")
    said = refused(tmp_path / "bad.wav")
    assert f"{word}" in said and "sample 12000 (0.2500 s) of channel 2; 2 samples" in said


@pytest.mark.parametrize("samples", [1, 479])
def test_too_short_to_be_sound(tmp_path: Path, samples: int) -> None:
    sf.write(tmp_path / "short.wav", noise(samples), RATE_HZ)
    assert f"holds {samples} sample" in refused(tmp_path / "short.wav")
    assert read_audio(tmp_path / "short.wav", min_duration_s=0).samples.shape == (2, samples)


def test_ten_milliseconds_are_enough(tmp_path: Path) -> None:
    sf.write(tmp_path / "short.wav", noise(480), RATE_HZ)
    assert read_audio(tmp_path / "short.wav").duration_s == 0.01


def test_three_hours_are_refused_by_the_header(tmp_path: Path) -> None:
    path, size = tmp_path / "long.wav", 3 * 3600 * 8_000 * 2
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16,
                         1, 1, 8_000, 16_000, 2, 16, b"data", size)
    with path.open("wb") as file:  # a sparse file: three hours of silence that take no room on the disk
        file.write(header)
        file.truncate(len(header) + size)
    tracemalloc.start()
    said = refused(path, max_duration_s=600)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # the samples alone would take 346 MB
    assert "lasts 3:00:00" in said and "10:00 min (600 s)" in said
    assert "1:00:00 (3600 s)" in refused(path)  # the limit that holds without a model's own
    assert probe_audio(path).duration_s == 3 * 3600


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (192_000, 2), (48_000, 1), (48_000, 8), (44_100, 6)])
def test_unusual_rates_and_channels_are_fine(tmp_path: Path, rate_hz: int, channels: int) -> None:
    sf.write(tmp_path / "x.flac", noise(rate_hz // 2, channels), rate_hz)
    audio = read_audio(tmp_path / "x.flac")
    assert (audio.channels, audio.rate_hz, audio.duration_s) == (channels, rate_hz, 0.5)


def test_sixteen_channels_and_absurd_rates(tmp_path: Path) -> None:
    sf.write(tmp_path / "x.wav", noise(RATE_HZ, 16), RATE_HZ)
    assert "16 channels" in refused(tmp_path / "x.wav")
    sf.write(tmp_path / "y.wav", noise(100), 10)
    assert "10 Hz" in refused(tmp_path / "y.wav")


@pytest.mark.parametrize("share", [0.3, 0.97])
@pytest.mark.parametrize(
    ("name", "subtype"),
    [("x.wav", "PCM_16"), ("x.wav", "FLOAT"), ("x.flac", "PCM_24"), ("x.ogg", "VORBIS"), ("x.ogg", "OPUS"), ("x.mp3", None)],
)
def test_truncated_files_are_noticed(tmp_path: Path, name: str, subtype: str | None, share: float) -> None:
    path = tmp_path / name
    sf.write(path, noise(), RATE_HZ, subtype=subtype)
    assert read_audio(path).samples.shape[1] == RATE_HZ
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "cut short" in refused(path)


@pytest.mark.parametrize("kept", [4, 20, 43])
def test_a_file_cut_within_its_header(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.wav"
    sf.write(path, noise(), RATE_HZ)
    path.write_bytes(path.read_bytes()[:kept])
    refused(path)


def test_a_streamed_wav_without_a_length_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    sf.write(path, noise(), RATE_HZ, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = b"\xff\xff\xff\xff"  # as programs write that don't know the length yet
    path.write_bytes(data)
    assert read_audio(path).samples.shape == (2, RATE_HZ)


def test_mislabelled_sound_is_read_by_its_content(tmp_path: Path) -> None:
    sf.write(tmp_path / "x.mp3", noise(), RATE_HZ)
    (tmp_path / "x.mp3").rename(tmp_path / "x.wav")
    assert probe_audio(tmp_path / "x.wav").format == "MP3"
    assert read_audio(tmp_path / "x.wav").samples.shape == (2, RATE_HZ)
    sf.write(tmp_path / "y.flac", noise(), RATE_HZ)
    (tmp_path / "y.flac").rename(tmp_path / "y.raw")
    assert read_audio(tmp_path / "y.raw").samples.shape == (2, RATE_HZ)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("song.wav", b"<!DOCTYPE html><html>not found</html>" * 50),
        ("song.mp3", b"not an mp3 " * 500),
        ("zeros.mp3", bytes(10_000)),
        ("song.flac", b"fLaC" + b"x" * 300),
        ("song.wav", b"RIFF\x10\x00\x00\x00WAVEjunk"),
        ("song.ogg", b"OggS" + bytes(500)),
        ("song.raw", b"0123456789" * 100),
        ("song", b"x"),
    ],
)
def test_what_is_no_sound_is_said(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name)


@pytest.mark.parametrize("name", ["with space.wav", "emoji 🎵.wav", "..wav", "-rf.wav", "quote'\".wav"])
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    sf.write(tmp_path / "plain.wav", noise(), RATE_HZ)
    (tmp_path / "plain.wav").rename(tmp_path / name)
    assert read_audio(tmp_path / name).duration_s == 1.0
