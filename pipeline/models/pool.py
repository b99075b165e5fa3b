"""The one place where weights live: loads variants, shares what they have in common, lets go of what is not needed.

The device holds one transformer. The next one is loaded (or, where memory is short, verified by names and shapes) before
the last is let go, so that a broken variant leaves a working one behind. Components are shared by content: two variants
with the same autoencoder hold one. This module knows no stage, no store and no family.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..context import Numerics
from ..errors import Problem, RequestError, RunError, did_you_mean
from . import autoencoder
from .adapters import AdapterChoice, adapter_fingerprint, lay_on, take_off
from .base import Counters, ModelInfo, VariantInfo
from .families import assemble
from .files import component_fingerprint, stored_bytes
from .loading import load_component, verify_weights
from .memory import TensorMemory, free_bytes, is_out_of_memory, torch_type
from .resolve import LocatedModel, VariantFiles

__all__ = ["Pool", "adapter_fingerprint", "is_out_of_memory"]


class PoolOptions(Protocol):
    """What a pool may be told beyond the numerics (a run's options have these)."""

    @property
    def cpu_offload(self) -> bool: ...
    @property
    def device_budget_gb(self) -> float | None: ...


class Pool:
    """Loaded weights of one model, one variant at a time on the device.

    `options.device_budget_gb` bounds the transformers kept in memory (default: half of what is free when the pool is
    made); `options.cpu_offload` keeps weights on the CPU and moves them leaf by leaf (diffusers' group offloading).
    After `close` nothing is held; asking again loads again.
    """

    def __init__(
        self, info: ModelInfo, numerics: Numerics, counters: Counters, *, options: PoolOptions | None = None
    ) -> None:
        if not isinstance(info, LocatedModel):
            raise TypeError("a pool needs a model from describe_model, which knows where its files are")
        self._info, self._numerics, self._counters = info, numerics, counters
        self._device, self._dtype = torch.device(numerics.device), torch_type(numerics.dtype)
        self._offload = bool(options and options.cpu_offload) and self._device.type != "cpu"
        asked = options.device_budget_gb if options else None
        self._budget = int(asked * 2**30) if asked else free_bytes("cpu") // 2
        self._shared: dict[str, Any] = {}  # component fingerprint -> module, on the device
        self._transformers: dict[str, Any] = {}  # fingerprint -> module; all but the active one on the CPU
        self._active: tuple[str, str] | None = None  # (variant, transformer fingerprint)
        self._model: Any = None
        self._laid_on: tuple[AdapterChoice, ...] = ()
        self._remembered = TensorMemory()
        self._shared_in_use: Mapping[str, Any] = {}
        self._offloaded: set[int] = set()

    # ---- what a run asks for ----------------------------------------------------------------------------------------

    def model(self, variant: str, adapters: Sequence[AdapterChoice] = ()) -> Any:
        """The variant's weights on the device, under these LoRAs (path, scale) and no others.

        The model given out before is retired when the variant or the adapters change. Raises RequestError for an unknown
        variant or an unfit LoRA, RunError when weights can't be loaded; the variant held before stays usable then.
        """
        if variant not in self._info.variants:
            known = ", ".join(self._info.variants)
            raise RequestError(
                Problem(
                    f"model '{self._info.name}' has no variant '{variant}'.{did_you_mean(variant, self._info.variants)}",
                    f"use one of {known}.",
                    key="variant",
                )
            )
        wanted = tuple((Path(path), float(scale)) for path, scale in adapters)
        with (
            torch.inference_mode(False),
            torch.no_grad(),
        ):  # weights stay ordinary tensors, whoever asks for them
            if self._active is None or self._active[0] != variant:
                self._change_to(variant)
            if wanted != self._laid_on:
                self._lay(wanted)
        return self._model

    @property
    def codec_info(self) -> VariantInfo:
        """The variant whose autoencoder `encode` and `decode` use: the active one, else one that is known, else the default."""
        if self._active is not None:
            return self._info.variants[self._active[0]]
        known = self._info.variants.looked_at()
        return self._info.variants[known[0]] if known else self._info.variant(None)

    @property
    def rate_hz(self) -> int:
        return self.codec_info.rate_hz

    @property
    def channels(self) -> int:
        return self.codec_info.channels

    @property
    def frame_rate_hz(self) -> float:
        return self.codec_info.frame_rate_hz

    def codec(self, fingerprint: str) -> VariantInfo:
        """A variant with that autoencoder: the active one where it has it. Raises RunError when the model has none such."""
        if self.codec_info.codec == fingerprint:
            return self.codec_info
        for name in (*self._info.variants.looked_at(), *self._info.variants):
            if self._info.variants[name].codec == fingerprint:
                return self._info.variants[name]
        raise RunError(f"no variant of model '{self._info.name}' has the autoencoder {fingerprint[:12]} this latent is of.")

    def encode(self, samples: Tensor, codec: str | None = None) -> Tensor:
        """Audio `[B, C, T]` at the autoencoder's rate -> latent means `[B, frames, D]`, float32 on the CPU. `codec` says
        which autoencoder (None: that of `codec_info`). Not counted here."""
        return autoencoder.encode(self._autoencoder(codec), samples, self._numerics.tile_frames)

    def decode(self, frames: Tensor, codec: str | None = None) -> Tensor:
        """Latents `[B, N, D]` of `codec` (None: that of `codec_info`) -> audio `[B, C, N · hop]`, float32 on the CPU. Not
        counted here."""
        return autoencoder.decode(self._autoencoder(codec), frames, self._numerics.tile_frames)

    def close(self) -> None:
        """Let go of everything."""
        if not self._shared and not self._transformers:
            return
        self._retire()
        self._shared.clear()
        self._transformers.clear()
        self._remembered.clear()
        self._active, self._laid_on, self._shared_in_use = None, (), {}
        self._offloaded.clear()
        if self._device.type != "cpu":  # on a CPU what was dropped is free already; a full collection costs 0.3 s a run
            self._collect()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- changing variants ------------------------------------------------------------------------------------------

    def _change_to(self, variant: str) -> None:
        files = self._info.files(variant)
        fingerprint = component_fingerprint("transformer", files.parts["transformer"])
        before = self._active[1] if self._active is not None else None
        if before is not None and fingerprint not in self._transformers and self._too_much(files):
            verify_weights(files.family, "transformer", files.parts["transformer"])
            self._let_go()
        shared = {n: self._component(files, n) for n in files.parts if n != "transformer"}
        transformer = self._transformers.get(fingerprint)
        if transformer is None:
            transformer = load_component(files.family, "transformer", files.parts["transformer"], self._dtype)
        # From here on nothing can fail but memory: the last variant may go.
        self._retire()
        if before in self._transformers:
            take_off(self._transformers[before])
            if before != fingerprint and self._device.type != "cpu" and not self._offload:
                self._transformers[before].to("cpu")
        if before is not None and before != fingerprint:
            self._counters.add("model_swaps")
        self._transformers[fingerprint] = self._placed(transformer)
        self._active, self._laid_on, self._shared_in_use = (variant, fingerprint), (), shared
        self._keep_to_budget()
        self._model = self._built(files)

    def _built(self, files: VariantFiles) -> Any:
        assert self._active is not None
        parts = {**self._shared_in_use, "transformer": self._transformers[self._active[1]]}
        return assemble(
            files, self._info.variants[files.variant], parts, self._counters, self._remembered, device=self._device,
            dtype=self._dtype, tile_frames=self._numerics.tile_frames,
        )

    def _component(self, files: VariantFiles, name: str) -> Any:
        fingerprint = component_fingerprint(name, files.parts[name])
        if fingerprint not in self._shared:
            dtype = torch.float32 if name == "vae" else self._dtype  # audio is made in full precision
            loaded = load_component(files.family, name, files.parts[name], dtype)
            if name == "vae":
                autoencoder.skip_idle_units(loaded)
            self._shared[fingerprint] = loaded
        return self._placed(self._shared[fingerprint])

    def _autoencoder(self, codec: str | None) -> Any:
        info = self.codec_info if codec is None else self.codec(codec)
        files = self._info.files(info.variant)
        with torch.inference_mode(False), torch.no_grad():
            return self._component(files, "vae")

    def _placed(self, part: Any) -> Any:
        """The component on the device: moved whole, or leaf by leaf as it runs when offloading was asked for."""
        if not isinstance(part, torch.nn.Module) or self._device.type == "cpu":
            return part
        if not self._offload or not getattr(part, "_supports_group_offloading", True):
            return part.to(self._device)
        if id(part) not in self._offloaded:
            from diffusers.hooks import apply_group_offloading

            apply_group_offloading(part, self._device, torch.device("cpu"), offload_type="leaf_level")
            self._offloaded.add(id(part))
        return part

    # ---- memory -----------------------------------------------------------------------------------------------------

    def _too_much(self, files: VariantFiles) -> bool:
        size = torch.empty((), dtype=self._dtype).element_size()
        coming = stored_bytes(files.parts["transformer"]) * size // 4
        return coming + self._held() > self._budget

    def _keep_to_budget(self) -> None:
        """Let go of what the active variant does not use while everything held is over the budget, oldest first."""
        assert self._active is not None
        in_use = {id(part) for part in self._shared_in_use.values()}
        idle = [(self._shared, k) for k, part in self._shared.items() if id(part) not in in_use]
        idle += [(self._transformers, k) for k in self._transformers if k != self._active[1]]
        dropped = False
        for held, key in idle:
            if self._held() <= self._budget:
                break
            self._offloaded.discard(id(held[key]))
            del held[key]
            dropped = True
        if self._device.type != "cpu" and not self._offload:
            for part in self._shared.values():
                if id(part) not in in_use and isinstance(part, torch.nn.Module):
                    part.to("cpu")
        if dropped:
            self._collect()

    def _held(self) -> int:
        return sum(map(_size, (*self._shared.values(), *self._transformers.values())))

    def _let_go(self) -> None:
        self._retire()
        self._transformers.clear()
        self._active, self._laid_on = None, ()
        self._collect()

    def _retire(self) -> None:
        if self._model is not None:
            self._model.retire()
            self._model = None

    def _collect(self) -> None:
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    # ---- adapters ---------------------------------------------------------------------------------------------------

    def _lay(self, wanted: tuple[AdapterChoice, ...]) -> None:
        assert self._active is not None
        variant, fingerprint = self._active
        transformer = self._transformers[fingerprint]
        take_off(transformer)
        self._laid_on = ()
        self._retire()
        self._model = self._built(self._info.files(variant))
        if wanted:
            lay_on(transformer, wanted)
            self._laid_on = wanted


def _size(part: Any) -> int:
    if not isinstance(part, torch.nn.Module):
        return 0
    return sum(p.numel() * p.element_size() for p in (*part.parameters(), *part.buffers()))
