"""Plans by a language model: a tiny random Llama in the real format. Whatever it prefers, what comes out is a valid plan."""

import json

import pytest
import torch
from segue.pipeline.errors import RequestError, RunError
from segue.presets.repair import repair_preset
from segue.presets.repair_writer import STRENGTHS, PlanWriter, set_plan
from segue.scoring.repairs import repair_plans
from segue.scoring.report import Defect, QualityReport
from segue.training.vocabulary import make_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

REPORT = QualityReport(
    overall=4.0, scorer="test", duration_s=8.0, rate_hz=24_000,
    defects=(Defect(type="gap", severity=0.8, start_s=3, end_s=3.2), Defect(type="clipping", severity=0.6, start_s=0, end_s=8),
             Defect(type="bandwidth_cut", severity=0.5, start_s=0, end_s=8, evidence={"edge_hz": 4000})),
)  # fmt: skip


def saved(folder, seed):
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=2, max_position_embeddings=4096)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return [saved(tmp_path_factory.mktemp("llm"), seed) for seed in range(3)]


def test_whatever_the_model_prefers_its_plans_are_valid(folders):
    possible = repair_plans(REPORT)
    orders = set()
    for folder in folders:
        plans = PlanWriter(folder).write(REPORT, possible, most=4)
        assert 1 <= len(plans) <= 4 and len({p.name for p in plans}) == len(plans)
        for plan in plans:
            original = next(p for p in possible if p.name == plan.name)
            assert plan.why and plan.defects == original.defects and list(plan.stages) == list(original.stages)
            for name, fields in plan.stages.items():
                assert {k: v for k, v in fields.items() if k not in STRENGTHS} == {
                    k: v for k, v in original.stages[name].items() if k not in STRENGTHS}
                assert all(fields[k] in STRENGTHS[k] for k in STRENGTHS if k in fields)
        assert repair_preset("song.flac", plans)
        orders.add(tuple(p.name for p in plans))
    assert len(orders) > 1  # it is the model that chooses


def test_the_same_model_writes_the_same(folders):
    possible = repair_plans(REPORT)
    first, second = (PlanWriter(folders[0]).write(REPORT, possible) for _ in range(2))
    assert first == second


def test_the_choice_is_the_likeliest_by_the_model_itself(folders):
    writer, model = PlanWriter(folders[1]), LlamaForCausalLM.from_pretrained(folders[1])
    tokenizer, text, options = make_tokenizer(), "Order: ", ["refine-0.2", "cover", "repaint-spans", "done"]
    means = []
    for option in options:
        head, tail = (tokenizer(t, add_special_tokens=False).input_ids for t in (text, option))
        total, context = 0.0, list(head)
        for token in tail:
            with torch.no_grad():
                total += float(model(torch.tensor([context])).logits[0, -1].log_softmax(-1)[token])
            context.append(token)
        means.append(total / len(tail))
    assert writer.choose(text, options) == max(range(4), key=means.__getitem__)


@pytest.mark.parametrize("answer", ["{", "[]", '{"plan": "other", "why": "x"}', '{"plan": "refine-0.2"}',
                                    '{"plan": "refine-0.2", "why": "x", "refined.denoise": 0.9}',
                                    '{"plan": "refine-0.2", "why": "x", "refined.steps": 3}',
                                    '{"plan": "refine-0.2", "why": "x", "gone.denoise": 0.2}'])  # fmt: skip
def test_an_answer_that_is_no_plan_is_refused(answer):
    plan = next(p for p in repair_plans(REPORT) if p.name == "refine-0.2")
    with pytest.raises(RunError, match="no repair plan"):
        set_plan(plan, answer)
    good = set_plan(plan, json.dumps({"plan": "refine-0.2", "why": "softly", "refined.denoise": 0.3}))
    assert good.stages["refined"]["denoise"] == 0.3 and good.why == "softly"


def test_a_folder_without_a_model_is_a_wrong_request(tmp_path):
    with pytest.raises(RequestError, match=r"lacks config\.json, model\.safetensors"):
        PlanWriter(tmp_path)
