"""The numbers in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

MODULES = [
    "samples", "loudness", "levels", "spectrum", "stereo", "clipping", "tonal", "reference", "onset_agreement", "comparison",
    "feature_distribution", "scorer", "time_frequency", "plot_field",
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"segue.scoring.{name}"), extraglobs={"np": np})
    assert outcome.attempted > 0
    assert outcome.failed == 0
