import importlib.util

import pytest

from keras_griffin.training.loss_curve import draw_loss_curve

pytestmark = pytest.mark.any_backend

LOG = "epoch,bits,loss,val_bits,val_loss\n0,4.0,2.8,3.5,2.4\n1,3.0,2.1,2.9,2.0\n"


def test_the_curve_is_drawn_as_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "log.csv").write_text(LOG)
    assert draw_loss_curve(tmp_path / "log.csv", tmp_path / "loss.png", {"zlib": 1.86, "lzma": 1.46})
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_nothing_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "log.csv").write_text(LOG)
    assert not draw_loss_curve(tmp_path / "log.csv", tmp_path / "loss.png", {})
    assert not (tmp_path / "loss.png").exists()
