"""Repair plans by a causal language model (`segue repair --llm PATH`), through transformers, imported only when used.

The model reads the report as JSON and answers in the plan schema. Its answer is constrained: every slot of the schema that
has a closed set of values (which plan comes next, how strong) takes the value whose text the model finds likeliest (mean
log-probability a token); free text is decoded greedily and only where the schema has words. The document that comes out is
parsed and validated as any plan; one that isn't valid is refused. Knows no audio.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from ..pipeline.errors import Problem, RequestError, RunError
from ..scoring.repairs import RepairPlan
from ..scoring.report import QualityReport

DONE = "done"
# What a plan's stage may be set to, gentlest first.
STRENGTHS: dict[str, tuple[float, ...]] = {"denoise": (0.1, 0.2, 0.3, 0.4, 0.5), "strength": (1.0, 0.95, 0.9, 0.8)}
MOST_WORDS = 48

_TASK = (
    "You are a mastering engineer. Below is the quality report of a recording as JSON, and the repairs that are possible. "
    "Order the repairs that are worth trying, best first, choose how strong each should be, and say why.\n"
)


class PlanWriter:
    """A causal language model from a local folder. Raises RequestError for a folder that lacks what it needs, RunError when
    it can't be loaded."""

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        folder = Path(path).expanduser()
        missing = [name for name in ("config.json",) if not (folder / name).is_file()]
        missing += [] if any(folder.glob("*.safetensors")) else ["model.safetensors"]
        if missing:
            cause = f"'{path}' is no folder of a language model: it lacks {', '.join(missing)}"
            raise RequestError(Problem(cause, "give a folder that a causal LM and its tokenizer were saved to", file="--llm"))
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            self._model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise RunError(f"the language model '{path}' can't be loaded: {str(error)[:300]}") from error
        self._model.to(device).eval()
        self._device = device

    @torch.inference_mode()
    def choose(self, text: str, options: Sequence[str]) -> int:
        """Index of the option that is likeliest to follow `text`: mean log-probability of its tokens; the first at a tie."""
        before = self._ids(text)
        found = []
        for option in options:
            tail = self._tokenizer(option, add_special_tokens=False).input_ids
            ids = torch.cat([before, torch.tensor([tail], device=self._device)], dim=1)
            logits = self._model(ids).logits[0, before.shape[1] - 1 : -1].float().log_softmax(-1)
            found.append(float(logits[torch.arange(len(tail)), ids[0, before.shape[1] :]].mean()))
        return max(range(len(options)), key=lambda i: (found[i], -i))

    @torch.inference_mode()
    def words(self, text: str, most: int = MOST_WORDS) -> str:
        """What follows `text`, greedily, up to a line break or a quotation mark; at most `most` tokens."""
        before = self._ids(text)
        ids = self._model.generate(before, attention_mask=torch.ones_like(before), max_new_tokens=most, do_sample=False,
                                   pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id)  # fmt: skip
        said = self._tokenizer.decode(ids[0, before.shape[1] :], skip_special_tokens=True)
        return said.split("\n")[0].split('"')[0].strip()

    def write(self, report: QualityReport, possible: Sequence[RepairPlan], *, most: int = 3) -> tuple[RepairPlan, ...]:
        """Up to `most` of the `possible` plans, ordered, set and explained by the model. Raises RunError when what it wrote is
        no plan (nothing of it is used then)."""
        left = {plan.name: plan for plan in possible}
        text, written = self._prompt(report, possible), list[RepairPlan]()
        while left and len(written) < most:
            names = [*left, *([DONE] if written else [])]
            text += '{"plan": "'
            name = names[self.choose(text, [f'{n}"' for n in names])]
            if name == DONE:
                break
            plan, answer = left.pop(name), {"plan": name}
            text += f'{name}"'
            for stage, key in _settable(plan):
                text += f', "{key}": '
                value = STRENGTHS[key][self.choose(text, [f"{v:g}" for v in STRENGTHS[key]])]
                text += f"{value:g}"
                answer[f"{stage}.{key}"] = value
            text += ', "why": "'
            answer["why"] = self.words(text) or plan.why
            text += f'{answer["why"]}"}}\n'
            written.append(set_plan(plan, json.dumps(answer)))
        return tuple(written)

    def _ids(self, text: str) -> torch.Tensor:
        longest = min(getattr(self._model.config, "max_position_embeddings", 4096), 4096) - 2 * MOST_WORDS
        ids = self._tokenizer(text, return_tensors="pt").input_ids
        return ids[:, -longest:].to(self._device)

    def _prompt(self, report: QualityReport, possible: Sequence[RepairPlan]) -> str:
        heard = {
            "overall": report.overall,
            "defects": [d.model_dump(mode="json") for d in sorted(report.defects, key=lambda d: -d.severity)[:12]],
        }
        offers = [{"plan": p.name, "for": p.defects, "what": p.why} for p in possible]
        asked = f"{_TASK}Report: {json.dumps(heard)}\nPossible: {json.dumps(offers)}\n"
        if getattr(self._tokenizer, "chat_template", None):
            talk = [{"role": "user", "content": asked}]
            return str(self._tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=False))
        return asked + "Answer, one JSON object a line:\n"


def _settable(plan: RepairPlan) -> list[tuple[str, str]]:
    return [(name, key) for name, fields in plan.stages.items() for key in STRENGTHS if key in fields]


def set_plan(plan: RepairPlan, answer: str) -> RepairPlan:
    """`plan` with what an answer (a JSON object: plan, why, and ``stage.key`` numbers) sets. Raises RunError for an answer that
    is not JSON, names another plan, or sets what the plan does not have or allow."""
    try:
        data: dict[str, Any] = json.loads(answer)
        if data.pop("plan") != plan.name:
            raise ValueError(f"the plan is called {plan.name}")
        stages = {name: dict(fields) for name, fields in plan.stages.items()}
        why = data.pop("why")
        for path, value in data.items():
            stage, key = path.split(".")
            if key not in STRENGTHS or key not in stages[stage] or not min(STRENGTHS[key]) <= value <= max(STRENGTHS[key]):
                raise ValueError(f"{path} can't be {value}")
            stages[stage][key] = value
        return RepairPlan.model_validate({**plan.model_dump(), "why": why, "stages": stages})
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise RunError(f"the language model's answer is no repair plan ({str(error)[:200]}): {answer[:200]}") from error
