"""Tiny random checkpoints in the real formats, built once, and a pool over one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from segue.pipeline.context import Numerics
from segue.pipeline.models.pool import Pool
from segue.pipeline.models.resolve import describe_model
from segue.pipeline.models.tiny import build_tiny_acestep, build_tiny_stable_audio


class Counts(Counter):
    """`Counters` as a plain counter."""

    def add(self, name, n=1):
        self[name] += n


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one variant, base."""
    return build_tiny_acestep(tmp_path_factory.mktemp("models") / "tiny-base", seed=1)


@pytest.fixture(scope="session")
def tiny_turbo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_acestep(tmp_path_factory.mktemp("models") / "tiny-turbo", seed=2, kind="turbo")


@pytest.fixture(scope="session")
def tiny_stable_audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_stable_audio(tmp_path_factory.mktemp("models") / "tiny-stable-audio")


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def pool(tiny: Path, counts: Counts) -> Iterator[Pool]:
    with Pool(describe_model(str(tiny)), Numerics(), counts) as made:
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fifty steps of the shipped model, many times over, is what takes long here."""
    for item in items:
        if "segue-mini-50" in item.name:
            item.add_marker(pytest.mark.slow)
