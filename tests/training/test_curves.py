"""Curves are drawn of whatever logs a run has left."""

from __future__ import annotations

import numpy as np
import pytest
from segue.training.curves import draw, main, read_autoencoder, read_flow


def test_logs_become_a_picture(tmp_path):
    steps = range(200)
    (tmp_path / "autoencoder.csv").write_text("".join(f"{n},{n}.0,{-n / 20},{12 - n / 50}\n" for n in steps))
    (tmp_path / "base.csv").write_text("50,20,train,1.5\n50,20,repaint,0.9\n100,40,train,1.1\n100,40,repaint,0.6\n")
    assert draw(tmp_path, tmp_path / "curves.png") == ["autoencoder", "base"]
    assert (tmp_path / "curves.png").stat().st_size > 5000
    at, values = read_autoencoder(tmp_path / "autoencoder.csv")["waveform error, dB"]
    np.testing.assert_allclose(values, -(at - 49.5) / 20, atol=1e-9)  # the mean over the 100 steps up to this one
    assert read_flow(tmp_path / "base.csv")["repaint"][1].tolist() == [0.9, 0.6]
    assert main([str(tmp_path)]) == 0


def test_a_folder_without_logs_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"turbo\.csv"):
        draw(tmp_path, tmp_path / "curves.png")
