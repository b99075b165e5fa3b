"""The sound of a take as a FLAC file: the one the night kept, or made again from its latent by the model's autoencoder.

Made again under the numerics the night recorded, so that it is sample for sample the file the night would have kept; whether
it is, the hash of the take's samples tells. Knows no pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..pipeline.audio_file import probe_audio, read_audio
from ..pipeline.audio_write import samples_sha256, write_audio
from ..pipeline.context import Numerics
from ..pipeline.errors import Problem, RequestError, RunError
from ..pipeline.models.pool import Pool
from ..pipeline.models.resolve import describe_model
from ..pipeline.options import RunOptions, decide
from ..pipeline.session import Counts, ordinary, threads
from ..pipeline.take import Audio
from .export_source import NightRecord, Sound
from .keeping import read_latent

_LENGTH_S = 1e-3


def numerics_of(record: NightRecord, device: str | None = None) -> tuple[Numerics, bool]:
    """The numerics a night's latents are decoded under, and whether they are those it recorded. Raises RequestError for a
    device that is not there."""
    facts = record.account().get("numerics")
    try:
        told = Numerics(**facts) if facts else None
    except TypeError:
        told = None
    if told is None:
        return decide(RunOptions(device=device, offline=True))[1], False
    asked = device or told.device
    try:
        filled, made = decide(RunOptions(
            device=asked, dtype=told.dtype, micro_batch=told.micro_batch, threads=told.threads, tile_frames=told.tile_frames,
            offline=True,
        ))  # fmt: skip
    except RequestError as error:
        raise RequestError(Problem(
            f"the night {record.folder} was made on {told.device}, which is not here, and takes must be decoded again",
            "export where it was made, or write --device cpu (samples then differ in rounding)", key="device",
        )) from error  # fmt: skip
    return made, filled.device == told.device


class Decoder:
    """Latent files of a night to audio. Holds one model's autoencoder at a time; `close` lets go of it."""

    def __init__(self, numerics: Numerics) -> None:
        self._numerics = numerics
        self._pool: tuple[str, Pool] | None = None

    def audio(self, path: Path) -> Audio:
        """The sound a latent file stands for. Raises RunError for a file that is none or a model that is not there."""
        try:
            latent, facts = read_latent(path)
        except (ValueError, OSError) as error:
            raise RunError(f"the latent {path} can't be read: {error}") from error
        pool = self._of(str(facts["model"]))
        with threads(self._numerics.threads):
            samples = pool.decode(latent.frames.unsqueeze(0), latent.codec)[0]
        return Audio(ordinary(samples[:, : latent.samples].contiguous()), pool.codec(latent.codec).rate_hz)

    def _of(self, model: str) -> Pool:
        if self._pool is None or self._pool[0] != model:
            self.close()
            try:
                self._pool = (model, Pool(describe_model(model, offline=True), self._numerics, Counts()))
            except RequestError as error:
                raise RunError(
                    f"takes must be decoded again, and their model '{model}' is not there: {error}. Put it back, or let the "
                    "night keep audio (audio: all)"
                ) from error
        return self._pool[1]

    def close(self) -> None:
        if self._pool is not None:
            self._pool[1].close()
            self._pool = None


@dataclass
class SoundFiles:
    """FLAC files of the sounds of `records`; those that must be decoded again are put into `scratch`.

    `decoded` counts them: ``alike`` when the samples are those that were scored, ``rounded`` when they are not (another
    processor, device or library version).
    """

    records: Sequence[NightRecord]
    scratch: Path
    device: str | None = None
    decoded: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._decoders: dict[int, Decoder] = {}
        self._made: dict[str, Path] = {}
        self._uses: Counter[str] = Counter()

    def must_exist(self, sounds: Iterable[Sound]) -> None:
        """Raise RunError when a sound has neither audio nor latent, naming how many and the first ones."""
        lost = [sound for sound in sounds if self._kept(sound) is None and self._latent(sound) is None]
        if lost:
            some = ", ".join(f"{s.take} ({s.audio or s.latent or 'no file named'})" for s in lost[:3])
            raise RunError(
                f"{len(lost)} takes of {self.records[lost[0].night].folder} have neither audio nor latents any more: {some}"
                f"{' …' if len(lost) > 3 else ''}. Put the files back, or derive pairs without them"
            )

    def bytes_of(self, sound: Sound) -> int:
        """How large the sound's file is, or about how large it will be."""
        kept = self._kept(sound)
        return kept.stat().st_size if kept is not None else int(sound.duration_s * 200_000)

    def flac(self, sound: Sound) -> Path:
        """The file; decoded when it isn't there. Raises RunError when it can't be made."""
        kept = self._kept(sound)
        if kept is not None:
            try:
                facts = probe_audio(kept)
                if facts.duration_s is None or abs(facts.duration_s - sound.duration_s) <= _LENGTH_S:
                    return kept
                cause = f"lasts {facts.duration_s:.3f} s, and the take {sound.duration_s:.3f} s"
            except RequestError as error:
                cause = str(error)
            if self._latent(sound) is None:
                raise RunError(f"the audio of {sound.take} can't be used and it has no latents: {cause}")
            self.notes.append(f"{kept} was decoded again: {cause}")
        return self._again(sound)

    def audio(self, sound: Sound) -> Audio:
        """The samples in the sound's file."""
        return read_audio(self.flac(sound))

    def latent(self, sound: Sound) -> Path | None:
        """The sound's latent file, None where it has none."""
        return self._latent(sound)

    def expect(self, sounds: Iterable[Sound]) -> None:
        """Say which sounds will be asked for once more each; what was decoded for others is let go."""
        self._uses = Counter(sound.pcm_sha256 for sound in sounds)
        for name in [name for name in self._made if name not in self._uses]:
            self._made.pop(name).unlink(missing_ok=True)

    def done(self, sound: Sound) -> None:
        """A sound announced to `expect` was used; after its last use its decoded file goes."""
        self._uses[sound.pcm_sha256] -= 1
        if self._uses[sound.pcm_sha256] <= 0 and sound.pcm_sha256 in self._made:
            self._made.pop(sound.pcm_sha256).unlink(missing_ok=True)

    def close(self) -> None:
        for decoder in self._decoders.values():
            decoder.close()

    def __enter__(self) -> SoundFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _path(self, sound: Sound, place: str | None) -> Path | None:
        path = self.records[sound.night].folder / place if place else None
        return path if path is not None and path.is_file() else None

    def _kept(self, sound: Sound) -> Path | None:
        return self._path(sound, sound.audio)

    def _latent(self, sound: Sound) -> Path | None:
        return self._path(sound, sound.latent)

    def _again(self, sound: Sound) -> Path:
        if sound.pcm_sha256 not in self._made:
            latent = self._latent(sound)
            if latent is None:
                raise RunError(f"the take {sound.take} has neither audio nor latents any more. Derive pairs without it")
            audio = self._decoder(sound.night).audio(latent)
            if abs(audio.duration_s - sound.duration_s) > _LENGTH_S:
                raise RunError(f"{latent} gives {audio.duration_s:.3f} s of sound; {sound.take} lasts {sound.duration_s:.3f} s")
            self.decoded["alike" if samples_sha256(audio) == sound.pcm_sha256 else "rounded"] += 1
            path = self.scratch / f"{sound.pcm_sha256}.flac"
            write_audio(path, audio)
            self._made[sound.pcm_sha256] = path
        return self._made[sound.pcm_sha256]

    def _decoder(self, night: int) -> Decoder:
        if night not in self._decoders:
            numerics, told = numerics_of(self.records[night], self.device)
            if not told:
                folder = self.records[night].folder
                self.notes.append(f"{folder}: takes are decoded again on {numerics.device}, not as the night decoded them")
            self._decoders[night] = Decoder(numerics)
        return self._decoders[night]
