"""A pair's line of JSON, put together from texts that were rendered when its takes were logged.

Rendering a side is most of what a pair costs, and a side does not depend on the pair it stands in. The line is byte for byte
that of `Pair.to_json`. Knows no rule and no file.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic_core import to_json

from .groups import GroupFacts, TakeFacts
from .pair_record import prompt_facts, side_facts
from .pair_schema import PairPrompt, Rejected


class SideText(NamedTuple):
    """A take as a side of a pair: its JSON as the rejected one, from `start` to `stop` what only a rejected side has."""

    text: bytes
    start: int
    stop: int

    def chosen(self) -> bytes:
        """The JSON as the chosen side."""
        return self.text[: self.start] + self.text[self.stop :]


def side_text(take: TakeFacts) -> SideText:
    """Render a take. Raises ValueError for one that has no score.

    >>> from segue.scoring.groups import Generation, GroupEntry
    >>> take = GroupEntry(take="t", index=0, seed=1, overall=8.0, duration_s=8.0, generation=Generation(seed=1), pcm_sha256="0")
    >>> side_text(take).chosen()[:40], side_text(take).text[slice(*side_text(take)[1:])]
    (b'{"audio_path":"","quality_score":8.0,"qu', b'"defects":[],')
    """
    text = Rejected.model_validate({**side_facts(take), "defects": take.defects}).model_dump_json().encode("utf-8")
    defects = b'"defects":' + to_json(take.defects) + b","
    start = text.index(defects)  # the first: before it stand a path, in which quotes are escaped, and numbers
    return SideText(text, start, start + len(defects))


def prompt_text(group: GroupFacts) -> bytes:
    """A group's prompt as its pairs begin with it, up to their duration.

    >>> prompt_text(GroupFacts(id="g", stage="scored", prompt={"caption": "tune", "bpm": 96}))
    b'{"caption":"tune","lyrics":"","metadata":{"bpm":96,"keyscale":null,"duration":'
    """
    prompt = PairPrompt.model_validate(prompt_facts(group, None)).model_dump_json().encode("utf-8")
    return prompt.removesuffix(b"null}}")


def pair_line(
    prompt: bytes, duration_s: float, chosen: bytes, rejected: bytes, *, id: str, group: str, strategy: str, margin: float,
    metric: str, labeller: str,
) -> bytes:
    """The line, without its end; `prompt` is of `prompt_text`, `chosen` and `rejected` of `SideText`.

    >>> from segue.scoring.groups import Generation, Group, GroupEntry
    >>> from segue.scoring.pair_rules import pairs_best_worst
    >>> takes = [GroupEntry(take=str(i), index=i, seed=i, overall=s, duration_s=8.0, generation=Generation(seed=i),
    ...                     pcm_sha256=str(i)) for i, s in enumerate((8.0, 6.5))]
    >>> group = Group(id="g", stage="scored", entries=tuple(takes))
    >>> (pair,) = pairs_best_worst(group)
    >>> best, worst = map(side_text, takes)
    >>> line = pair_line(prompt_text(group), 8.0, best.chosen(), worst.text, id=pair.id, group="g", strategy=pair.strategy,
    ...                  margin=1.5, metric="overall", labeller="")
    >>> line.decode() == pair.to_json()
    True
    """
    rest = to_json({"id": id, "group": group, "strategy": strategy, "margin": margin, "metric": metric, "labeller": labeller})
    parts = (b'{"prompt":', prompt, to_json(duration_s), b'}},"chosen":', chosen, b',"rejected":', rejected, b",", rest[1:])
    return b"".join(parts)
