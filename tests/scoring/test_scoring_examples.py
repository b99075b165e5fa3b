"""The numbers in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import FunctionType

import numpy as np
import pytest
import segue.scoring

MODULES = [m.name for m in pkgutil.walk_packages(segue.scoring.__path__, "segue.scoring.")]


def test_the_modules_are_found() -> None:
    assert len(MODULES) > 40 and "segue.scoring.detectors.resonance" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), extraglobs={"np": np}).failed == 0


@pytest.mark.parametrize("name", [m for m in MODULES if ".adapters" not in m])
def test_every_public_function_has_an_example(name: str) -> None:
    """Adapters need others' weights and are left out."""
    own = [f for f in map(inspect.unwrap, vars(importlib.import_module(name)).values()) if isinstance(f, FunctionType)]
    own = [f for f in own if f.__module__ == name and not f.__name__.startswith("_")]
    assert [f.__name__ for f in own if ">>>" not in (f.__doc__ or "")] == []
