"""`Pipeline`: a preset and what can be done with it: run it, write it, draw it.

This stands above the executor and the drawings, which know a preset as the plain data of `spec.Preset`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .spec import Preset

if TYPE_CHECKING:
    from .run import Run


class Pipeline(Preset):
    """A declared graph of stages. The same object from YAML (`segue.load`) and from Python.

    `inputs` map names to audio files, relative to the preset's folder (to the working folder when made in Python).
    `outputs` name the stages whose takes are written to the run's folder; left out, every stage nothing else reads.
    """

    def run(self, out: str | Path | None = None, **choices: Any) -> Run:
        """Run this pipeline and give its takes. `out` is a folder for audio, report and preference log (None: no files).

        Choices: `seed`, `takes`, `inputs` (name -> file), `on_event`, `cancel`, `options` (`RunOptions`), `home`; see
        `segue.pipeline.executor.execute`, which also says what is raised."""
        from .executor import execute

        return execute(self, out, **choices)

    def to_yaml(self) -> str:
        """This pipeline as preset text: defaults left out, `segue.load` gives an equal pipeline back."""
        from .yaml_text import to_yaml

        return to_yaml(self)

    def __repr__(self) -> str:
        from .drawing import as_line

        return as_line(self)

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        from .drawing import as_html

        return as_html(self)
