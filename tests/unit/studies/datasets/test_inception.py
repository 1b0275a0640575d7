import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dvgs.errors import InputError
from dvgs.studies.datasets import inception


class Network(torch.nn.Module):
    """In the place of Inception-v3: mean colours of large images, then a last layer."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(3, 1000)

    def forward(self, x):
        assert x.shape[1:] == (3, 299, 299) and not self.training
        return self.fc(x.mean((2, 3)))


@pytest.fixture
def torchvision(monkeypatch, tmp_path):
    models = SimpleNamespace(inception_v3=lambda **_: Network())
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints" / inception.WEIGHTS


def test_without_torchvision_the_log_says_pixels(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with caplog.at_level(logging.INFO, "dvgs"):
        assert inception.find_inception() is None
    assert "pixels and a convolutional classifier, because torchvision cannot be imported: " in caplog.text


def test_a_torchvision_for_another_torch_is_as_good_as_none(monkeypatch, tmp_path, caplog):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.delitem(sys.modules, "torchvision.models", raising=False)
    with caplog.at_level(logging.INFO, "dvgs"):
        assert inception.find_inception() is None
    assert "cannot be imported: operator nms does not exist" in caplog.text


def test_without_weights_the_log_names_them(torchvision, caplog):
    with caplog.at_level(logging.INFO, "dvgs"):
        assert inception.find_inception() is None
    assert f"pixels and a convolutional classifier, because there is no {torchvision}" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "other", "empty", "text"])
def test_other_weights_are_told_in_one_line(torchvision, damage):
    torch.save(Network().state_dict() if damage == "cut" else {"a": torch.zeros(3)}, torchvision)
    content = torchvision.read_bytes()
    cut = {"cut": content[: len(content) // 2], "other": content, "empty": b"", "text": b"not found\n"}
    torchvision.write_bytes(cut[damage])
    with pytest.raises(InputError, match=r"studies\.features: not the weights of Inception-v3") as error:
        inception.find_inception()
    assert "\n" not in str(error.value)


def test_embedding_is_what_the_last_layer_is_given(torchvision, caplog, rng):
    torch.save(Network().state_dict(), torchvision)
    with caplog.at_level(logging.INFO, "dvgs"):
        model = inception.find_inception()
    assert "an Inception-v3 embedding" in caplog.text
    images = rng.uniform(-1, 1, (3, 3, 1, 1)).astype(np.float32) * np.ones((1, 1, 32, 32), np.float32)
    assert np.allclose(inception.embed(model, images, torch.device("cpu")), images[:, :, 0, 0], atol=1e-6)
