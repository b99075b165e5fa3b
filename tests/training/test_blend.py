"""Weights between two checkpoints': both ends, the middle, and pairs that can't be."""

from __future__ import annotations

import pytest
import torch
from segue.training.blend import blend, main

BEFORE = {"transformer": {"weight": torch.tensor([0.0, 2.0]), "count": torch.tensor(3)}}
AFTER = {"transformer": {"weight": torch.tensor([1.0, -2.0]), "count": torch.tensor(5)}}


@pytest.mark.parametrize(("share", "weight"), [(0.0, [0.0, 2.0]), (0.25, [0.25, 1.0]), (1.0, [1.0, -2.0])])
def test_every_weight_lies_between_the_two(share, weight):
    made = blend(BEFORE, AFTER, share)["transformer"]
    assert made["weight"].tolist() == weight and made["count"] == 3


def test_the_command_writes_what_a_trainer_reads(tmp_path, capsys):
    torch.save(BEFORE, tmp_path / "a.pt")
    torch.save(AFTER, tmp_path / "b.pt")
    out = tmp_path / "made.pt"
    assert main([str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), "--out", str(out)]) == 0
    assert torch.load(out, weights_only=True)["transformer"]["weight"].tolist() == [0.5, 0.0]
    out.unlink()
    assert main([str(tmp_path / "a.pt"), str(tmp_path / "c.pt"), "--out", str(out)]) == 2
    assert "c.pt is not there" in capsys.readouterr().err
    assert main([str(tmp_path / "a.pt"), str(tmp_path / "b.pt"), "--share", "1.5", "--out", str(out)]) == 2
    assert "share is 1.5" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(("other", "told"), [
    ({"transformer": {"weight": torch.zeros(2)}}, "count"), ({"encoder": {}}, "encoder"),
    ({"transformer": {"weight": torch.zeros(3), "count": torch.tensor(1)}}, r"weight is \[2\] in one and \[3\]"),
])  # fmt: skip
def test_two_that_do_not_belong_together_are_refused(other, told):
    with pytest.raises(ValueError, match=told):
        blend(BEFORE, other, 0.5)
