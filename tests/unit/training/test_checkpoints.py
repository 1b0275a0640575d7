import pytest
import torch

from dvgs.training import checkpoints
from dvgs.training.checkpoints import Checkpoint, digest


def test_a_state_is_found_again_by_its_key_alone(tmp_path):
    path, state = tmp_path / "deep" / "a.pt", {"step": 3, "inner": {"x": torch.arange(4.0)}, "list": [1, None]}
    Checkpoint(path, "key").save(state)
    found = Checkpoint(path, "key").load()
    assert found["step"] == 3 and torch.equal(found["inner"]["x"], torch.arange(4.0)) and found["list"] == [1, None]
    assert Checkpoint(path, "other").load() is None
    assert [file.name for file in path.parent.iterdir()] == ["a.pt"]
    Checkpoint(path, "key").remove()
    assert Checkpoint(path, "key").load() is None and not path.exists()


def test_what_cannot_be_written_leaves_the_last_state(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "a.pt", "key")
    checkpoint.save({"step": 1})

    def fail(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(torch, "save", fail)
        checkpoint.save({"step": 2})
    assert checkpoint.load() == {"step": 1}


def test_only_data_is_read(tmp_path):
    """A file that somebody else put there must not run code."""
    torch.save({"key": "key", "state": {"x": print}}, tmp_path / "a.pt")
    with pytest.raises(Exception, match="weights_only"):
        Checkpoint(tmp_path / "a.pt", "key").load()


def test_a_state_is_due_some_seconds_after_the_last(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    checkpoint = Checkpoint(tmp_path / "a.pt", "key")
    assert not checkpoint.due()
    now[0] += checkpoints.SECONDS
    assert checkpoint.due()
    checkpoint.save({})
    assert not checkpoint.due()


def test_without_a_file_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 0)
    checkpoint = Checkpoint(None, "")
    checkpoint.save({"step": 1})
    assert checkpoint.load() is None and not checkpoint.due()
    checkpoint.remove()


def test_digests_tell_inputs_apart():
    x = torch.arange(6.0)
    inputs = [(), (1,), ("1",), (1, 2), (x,), (x.double(),), (x.reshape(2, 3),), (x + 1,), (x, x), (None,), (x[:0],)]
    assert len({digest(*each) for each in inputs}) == len(inputs)
    assert digest(x, "a") == digest(x.clone(), "a") == digest(torch.arange(12.0)[::2] / 2, "a")
