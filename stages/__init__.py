"""Every stage type, by the name a preset uses. Importing this registers nothing; the mapping is handed to who needs it."""

from collections.abc import Mapping
from types import MappingProxyType

from ..pipeline.spec import Stage
from .caption import Caption
from .cover import Cover
from .degrade import Degrade
from .generate import Generate, Refine
from .mix import Mix
from .repaint import Repaint
from .save import Save
from .score import Score
from .select import Select
from .separate import Separate
from .stems import Complete, Extract, Lego
from .super_resolve import SuperResolve
from .wiener import Wiener

_ALL: tuple[type[Stage], ...] = (
    Caption, Degrade, SuperResolve, Generate, Refine, Cover, Repaint, Extract, Lego, Complete, Separate, Wiener, Mix, Score,
    Select, Save,
)

STAGES: Mapping[str, type[Stage]] = MappingProxyType({cls.model_fields["type"].default: cls for cls in _ALL})
"""Stage classes by type name, in the order of the reference page."""

__all__ = [
    "STAGES", "Caption", "Complete", "Cover", "Degrade", "Extract", "Generate", "Lego", "Mix", "Refine", "Repaint", "Save",
    "Score", "Select", "Separate", "SuperResolve", "Wiener",
]
