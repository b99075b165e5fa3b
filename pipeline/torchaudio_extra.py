"""The one place that imports torchaudio, which is an extra: absent or unusable, it is told what to do about it.

torchaudio's Linux x86 wheels are built against CUDA; beside a CPU build of torch their import fails with OSError.
Knows nothing of what is asked of torchaudio.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from .errors import Problem, RequestError


def torchaudio_problem(need: str) -> Problem | None:
    """Why torchaudio can't be used for `need` (e.g. "stage type 'separate'"); None when it can."""
    try:
        import_torchaudio(need)
    except RequestError as error:
        return error.problems[0]
    return None


def import_torchaudio(need: str) -> ModuleType:
    """torchaudio, imported now. Raises RequestError when it is not installed or does not load beside this torch."""
    if importlib.util.find_spec("torchaudio") is None:
        raise RequestError(
            Problem(
                cause=f"{need} needs torchaudio, which is not installed.",
                fix='pip install "segue-audio[torchaudio]", in the version that belongs to the installed torch.',
            )
        )
    try:
        return importlib.import_module("torchaudio")
    except (ImportError, OSError) as error:
        raise RequestError(
            Problem(
                cause=f"{need} needs torchaudio, which is installed but does not load ({str(error)[:200]}).",
                fix="install the torchaudio that was built for this torch (a CPU torch needs a CPU torchaudio: "
                "pip install torchaudio --index-url https://download.pytorch.org/whl/cpu), or uninstall it.",
            )
        ) from error
