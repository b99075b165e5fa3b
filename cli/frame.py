"""What stands around every command: errors to exit codes, quiet libraries, and Ctrl-C.

Exit codes: 0 done, 1 the run failed (or was stopped), 2 the request was wrong. Knows no command and imports
nothing heavy.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from ..pipeline.errors import RequestError, SegueError
from ..pipeline.events import CancelToken
from . import output


class Boundary(TyperGroup):
    """The command group at which every error becomes one clear text and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RequestError as error:
            for problem in error.problems:
                output.error(str(problem))
            raise typer.Exit(error.exit_code) from None
        except SegueError as error:
            output.error(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            output.error("stopped")
            raise typer.Exit(1) from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # nobody reads any more: typer ends quietly
            _unexpected(error)
        except Exception as error:
            if type(error).__module__.startswith(("click", "typer")):
                raise  # usage errors and exits: typer shows them and knows their code
            _unexpected(error)


def _unexpected(error: Exception) -> None:
    """One line, and the traceback in a file (`SEGUE_DEBUG=1` raises instead)."""
    if os.environ.get("SEGUE_DEBUG") == "1":
        raise error
    with tempfile.NamedTemporaryFile(
        "w",
        prefix="segue-traceback-",
        suffix=".txt",
        delete=False,
        encoding="utf-8",
        errors="backslashreplace",
    ) as file:
        file.write("".join(traceback.format_exception(error)))
    text = str(error) or "no message"
    output.error(
        f"unexpected {type(error).__name__}: {text} (traceback in {file.name}; SEGUE_DEBUG=1 raises it)"
    )
    raise typer.Exit(1) from None


def calm_libraries() -> None:
    """Ask the libraries below to keep their progress bars and advice to themselves. Call before they are
    imported; what the user has set in the environment stays."""
    for name, value in {
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "1",
    }.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Whatever prints meanwhile, prints to stderr: stdout stays the command's own."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def stoppable(token: CancelToken) -> Iterator[None]:
    """The first Ctrl-C asks the run to stop at its next step; the second ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def asked(_number: int, _frame: FrameType | None) -> None:
        token.cancel()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # a signal handler may interrupt a write to the same stream; os.write can't be re-entered wrongly
        with contextlib.suppress(OSError, io.UnsupportedOperation):
            os.write(2, b"\nstopping at the next step; Ctrl-C again ends at once\n")

    signal.signal(signal.SIGINT, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
