"""What lives as long as a run: models, store, counters, listeners; and the `Context` each stage sees of it.

Knows no stage type and no graph.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from .audio_file import remix, resample
from .context import Job, Numerics
from .errors import Cancelled
from .events import CancelToken, Event, Listener, StepDone, Warned
from .keys import audio_key, digest, numerics_facts
from .keys import noise as draw_noise
from .models.base import Model, ModelInfo, VariantInfo
from .models.pool import Pool
from .spec import Preset
from .store import Entry, Store
from .take import Audio, Latent, Signal, Take


class Counts:
    """Thread-safe counts of what a run did; the `counts` of its document."""

    NAMES = ("model_swaps", "text_encodes", "audio_encodes", "audio_decodes", "forwards")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = dict.fromkeys(self.NAMES, 0)

    def add(self, name: str, n: int = 1) -> None:
        with self._lock:
            self._n[name] += n

    def as_dict(self) -> dict[str, int]:
        with self._lock:
            return dict(self._n)


class Session:
    """One run's models, store, counts and listeners. `preset` is the text its files are tagged with."""

    def __init__(
        self, pipeline: Preset, model: ModelInfo | None, pool: Pool | None, store: Store, numerics: Numerics, counts: Counts,
        *, out: Path | None, created: str, on_event: Listener | None, cancel: CancelToken | None, preset: str,
    ) -> None:
        self.pipeline, self.model, self._pool, self.store = pipeline, model, pool, store
        self.numerics, self.counts, self.out, self.created = numerics, counts, out, created
        self._on_event, self.cancel = on_event, cancel or CancelToken()
        assert pipeline.seed is not None
        self.preset, self.run_seed = preset, pipeline.seed
        self.warnings: list[str] = []

    @property
    def pool(self) -> Pool:
        if self._pool is None:
            raise RuntimeError("this pipeline uses no model, yet a stage asked for one")
        return self._pool

    def emit(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def warn(self, message: str, stage: str | None = None) -> None:
        """Tell once."""
        if message not in self.warnings:
            self.warnings.append(message)
            self.emit(Warned(message, stage))

    def info(self, variant: str | None, task: str | None = None) -> VariantInfo:
        assert self.model is not None
        return self.model.variant(variant, task)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """torch with `n` threads, as before afterwards: their number decides bytes, also when a view is made after the run."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def ordinary(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, copied where it was made in inference mode: such a one can't be changed or differentiated outside it."""
    if not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()


class StoredViews:
    """The missing view of one take's signal, made by the autoencoder and kept in the store."""

    def __init__(self, session: Session, key: str) -> None:
        self._session, self._key = session, key

    def decode(self, latent: Latent) -> Audio:
        """Decode once; the audio joins the take's own entry."""
        session = self._session
        with threads(session.numerics.threads):
            samples = session.pool.decode(latent.frames.unsqueeze(0), latent.codec)[0]
        samples = ordinary(samples[:, : latent.samples].contiguous())
        audio = Audio(samples, session.pool.codec(latent.codec).rate_hz)
        session.counts.add("audio_decodes")
        session.store.put_view(self._key, audio)
        return audio

    def encode(self, audio: Audio, codec: str) -> Latent:
        """Encode once; the latent is an entry of its own, since an input's key knows neither autoencoder nor numerics."""
        session = self._session
        key = digest({"encode": self._key, "codec": codec, "numerics": numerics_facts(session.numerics.portable())})
        kept = session.store.get(key)
        if kept is not None and kept.latent is not None:
            return kept.latent
        info = session.pool.codec(codec)
        own = remix(resample(audio, info.rate_hz), info.channels).samples
        with threads(session.numerics.threads):
            frames = session.pool.encode(own.unsqueeze(0), codec)[0]
        latent = Latent(ordinary(frames.contiguous()), info.frame_rate_hz, codec, samples=own.shape[-1])
        session.counts.add("audio_encodes")
        session.store.put(key, Entry(latent=latent))
        return latent


def input_take(session: Session, name: str, audio: Audio) -> Take:
    """The one take of input `name`; its key is a hash of its samples."""
    key = audio_key(audio.samples, audio.rate_hz)
    return Take(
        stage=name, index=0, seed=session.run_seed, prompt=session.pipeline.prompt, key=key,
        signal=Signal(audio, None, StoredViews(session, key)), lineage=({"stage": name, "type": "input", "key": key},),
    )


class StageContext:
    """`Context` as one stage sees it."""

    def __init__(self, session: Session, stage: str) -> None:
        self.session, self.stage = session, stage
        self.numerics, self.out, self.created = session.numerics, session.out, session.created
        self.preset, self.run_seed = session.preset, session.run_seed

    def info(self, variant: str | None, task: str | None = None) -> VariantInfo:
        return self.session.info(variant, task)

    def model(self, stage: Any) -> Model:
        adapters = tuple((self.path(a.path), a.scale) for a in stage.adapters)
        return self.session.pool.model(self.info(stage.variant, stage.task).variant, adapters)

    def latent(self, take: Take, info: VariantInfo) -> Latent:
        return take.signal.latent(info.codec)

    def audio(self, take: Take, rate_hz: int | None = None, channels: int | None = None) -> Audio:
        audio = take.signal.audio()
        if rate_hz is not None:
            audio = resample(audio, rate_hz)
        return remix(audio, channels) if channels is not None else audio

    def noise(self, seed: int, purpose: str, step: int, shape: Sequence[int]) -> torch.Tensor:
        return draw_noise(seed, purpose, step, shape)

    def step(self, jobs: Sequence[Job], step: int, steps: int) -> None:
        self.session.emit(StepDone(self.stage, tuple(job.index for job in jobs), step, steps))
        if self.session.cancel.cancelled:
            raise Cancelled("stopped on request; finished takes are kept")

    def warn(self, message: str) -> None:
        self.session.warn(message, self.stage)

    def path(self, text: str) -> Path:
        return self.session.pipeline.path(text)
