"""What every loaded model is: a variant's facts and its components, until the pool lets them go. Knows no family."""

from __future__ import annotations

from typing import Generic, TypeVar

from .base import Counters, VariantInfo
from .memory import TensorMemory

Parts = TypeVar("Parts")


class LoadedModel(Generic[Parts]):
    """One variant's weights on a device; `tile_frames` as for the autoencoder, `remembered` what outlives the variant."""

    def __init__(
        self,
        info: VariantInfo,
        parts: Parts,
        counters: Counters,
        remembered: TensorMemory | None = None,
        tile_frames: int = 0,
    ) -> None:
        self.info = info
        self._parts: Parts | None = parts
        self._counters = counters
        self._remembered = remembered or TensorMemory()
        self._tile = tile_frames

    @property
    def parts(self) -> Parts:
        """The loaded components. Raises RuntimeError after the pool let this variant go."""
        if self._parts is None:
            raise RuntimeError(
                f"variant '{self.info.variant}' was let go for another one; ask the pool for it again instead of keeping it"
            )
        return self._parts

    def retire(self) -> None:
        """Let the components go; any later use says so."""
        self._parts = None
