"""The numbers in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
import segue.scoring

MODULES = [m.name for m in pkgutil.walk_packages(segue.scoring.__path__, "segue.scoring.")]


def test_the_modules_are_found() -> None:
    assert len(MODULES) > 40 and "segue.scoring.detectors.resonance" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), extraglobs={"np": np}).failed == 0
