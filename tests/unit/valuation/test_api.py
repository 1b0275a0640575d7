import shutil
import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch import nn

import dvgs
from dvgs.__main__ import main
from dvgs.columns import VALUE_COLUMNS
from dvgs.errors import InputError
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.valuation import scoring
from dvgs.valuation.trajectory import Trajectory

LOSS = nn.CrossEntropyLoss(reduction="none")


def classifier(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.fixture
def classes(rng):
    """Source and target of three classes, as (x, y); the first third of the source has wrong labels."""
    y = rng.integers(0, 3, 160)
    x = (rng.normal(size=(160, 6)) + 2 * np.eye(3, 6)[y]).astype(np.float32)
    y[:40] = (y[:40] + 1) % 3
    return (x[:120], y[:120]), (x[120:], y[120:])


def test_value_is_the_mean_similarity_along_the_training(classes):
    """Against the algorithm written out: Adam on the whole target, per-sample gradients one by one."""
    source, target = classes
    found = dvgs.value(classifier(), LOSS, source, target, epochs=4, lr=0.01)
    model = classifier().double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    (sx, sy), (tx, ty) = ((torch.from_numpy(x).double(), torch.from_numpy(y)) for x, y in classes)
    cosine, dot = np.zeros((4, 120)), np.zeros((4, 120))
    for step in range(4):
        optimizer.zero_grad()
        LOSS(model(tx), ty).mean().backward()
        g = torch.cat([p.grad.flatten() for p in model.parameters()])
        for i in range(120):
            own = torch.autograd.grad(LOSS(model(sx[i : i + 1]), sy[i : i + 1]).sum(), list(model.parameters()))
            own = torch.cat([p.flatten() for p in own])
            cosine[step, i], dot[step, i] = own @ g / own.norm() / g.norm(), own @ g
        optimizer.step()
    assert list(found) == list(VALUE_COLUMNS) and len(found) == 120
    assert np.allclose(found["cosine"], cosine.mean(axis=0), atol=1e-5)
    assert np.allclose(found["dot"], dot.mean(axis=0), atol=1e-5)
    assert [row["steps"] for row in found.attrs["convergence"]] == ["eighth", "quarter", "half", "alternate"]


def test_wrong_labels_are_worth_less_and_the_model_is_left_alone(classes):
    model = classifier()
    before = [p.clone() for p in model.parameters()]
    found = dvgs.value(model, LOSS, *classes, epochs=60, lr=0.01, restarts=2, batch_size=16)
    assert found["cosine"][:40].mean() < found["cosine"][40:].mean() - 0.1
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_same_seed_same_values(classes):
    options = {"epochs": 5, "batch_size": 16, "restarts": 2}
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    torch.manual_seed(1)
    first = dvgs.value(model, LOSS, *classes, **options)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), after)  # the caller's draws are as without it
    torch.manual_seed(2)
    assert dvgs.value(model, LOSS, *classes, **options).equals(first)
    assert not dvgs.value(model, LOSS, *classes, **options, seed=1).equals(first)


def test_layers_in_evaluation_stay_there(classes):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8).eval(), nn.Linear(8, 3))
    assert dvgs.value(model, LOSS, *classes, epochs=3)["cosine"].notna().all()


def test_autoencoder_and_parameters_of_choice(rng):
    x = rng.normal(size=(30, 6)).astype(np.float32)
    model = make_autoencoder(6, (5,), 2, seed=1)
    whole = dvgs.value(model, reconstruction_loss, (x, None), (x[:9] + 1, None), epochs=3)
    part = dvgs.value(
        model, reconstruction_loss, (x, x), (x[:9] + 1, x[:9] + 1), epochs=3, grad_params=["decoder.2.weight"]
    )
    assert np.allclose(whole["loss"], part["loss"])
    assert (part["gradient_norm"] < whole["gradient_norm"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, t: (put(s, 0, (5, 2), np.nan), t), "source: x: 1 of 120 samples hold NaN or infinity, sample 5"),
        (lambda s, t: (s, put(t, 0, (3, 0), np.inf)), "target: x: 1 of 40 samples hold NaN"),
        (lambda s, t: (s, (t[0][:1], t[1][:1])), "target: x: one sample defines no task"),
        (lambda s, t: ((s[0][:0], s[1][:0]), t), "source: x: there are no samples"),
        (lambda s, t: ((s[0], s[1][:9]), t), "source: y: 9 rows for 120 samples"),
        (lambda s, t: (s, (t[0][:, :5], t[1])), r"source: x: samples have shape \(6,\), those of the target \(5,\)"),
        (lambda s, t: ((s[0].astype(np.int64), s[1]), t), "source: x: torch.int64, but torch.float32"),
    ],
)
def test_data_that_cannot_be_used_is_said_in_one_line(classes, change, message):
    with pytest.raises(InputError, match=message):
        dvgs.value(classifier(), LOSS, *change(*classes), epochs=2)


def put(pair, which, place, number):
    pair = [part.copy() for part in pair]
    pair[which][place] = number
    return tuple(pair)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp8"}, "precision: fp8 is not known; choose one of float32, tf32, bf16"),
        ({"epochs": 0}, "epochs: 0 is not a count"),
        ({"epochs": 1.5}, "epochs: 1.5 is not a count"),
        ({"batch_size": -1}, "batch_size: -1 is not a count"),
        ({"batch_size": 0}, "batch_size: 0 is not a count"),
        ({"lr": -1}, "lr: -1 is not a learning rate"),
        ({"stable": 2}, "stable: 2 is not a correlation"),
        ({"grad_params": ["w"]}, "no parameter w"),
        ({"device": "tpu"}, "device: tpu is not known; say auto, cpu or cuda"),
    ],
)
def test_options_that_cannot_be_used(classes, options, message):
    with pytest.raises(ValueError, match=message):
        dvgs.value(classifier(), LOSS, *classes, **options)


def test_numbers_are_those_of_the_model(classes):
    (sx, sy), (tx, ty) = classes
    doubles = (sx.astype(np.float64), sy), (tx.astype(np.float64), ty)
    assert dvgs.value(classifier(), LOSS, *doubles, epochs=3).equals(dvgs.value(classifier(), LOSS, *classes, epochs=3))
    exact = dvgs.value(classifier().double(), LOSS, *classes, epochs=3)
    coarse = dvgs.value(classifier().bfloat16(), LOSS, *classes, epochs=3)
    assert 0.9 < exact["cosine"].corr(coarse["cosine"], method="spearman") < 1


def test_frozen_parameters_and_buffers_stay_in_restarts(classes, tmp_path):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8).eval(), nn.Tanh(), nn.Linear(8, 3)]
    model = nn.Sequential(*layers)
    model[1].running_mean += 1
    model[0].requires_grad_(False)
    found = dvgs.value(model, LOSS, *classes, epochs=4, restarts=3, work=tmp_path)
    with Trajectory(tmp_path / "trajectory.h5", model) as trajectory:
        frozen = model[0].weight.clone()
        for row in range(len(trajectory)):
            trajectory.at(row)
            assert torch.equal(model[0].weight, frozen)
    shutil.rmtree(tmp_path / "scored")  # as after a kill between training and scoring
    assert dvgs.value(model, LOSS, *classes, epochs=4, restarts=3, work=tmp_path)["cosine"].notna().all()
    assert found["cosine_se"].notna().all()


class Centred(nn.Module):
    """A running mean that training moves."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x):
        y = self.layer(x - self.mean)
        with torch.no_grad():
            self.mean += 0.5 * (x.mean(0) - self.mean)
        return y


def test_buffers_do_not_move(classes, tmp_path):
    def run(**options):
        torch.manual_seed(0)
        return dvgs.value(Centred(), LOSS, *classes, epochs=5, **options)

    first = run(work=tmp_path)
    shutil.rmtree(tmp_path / "scored")
    assert run(work=tmp_path).equals(first) and run().equals(first)


@pytest.mark.parametrize(
    "change",
    [
        lambda model, loss: (model, lambda p, y: loss(p, y) ** 2),
        lambda model, loss: (model.eval(), loss),
        lambda model, loss: (model[0].requires_grad_(False) and model, loss),
    ],
    ids=["loss", "mode", "frozen"],
)
def test_a_folder_of_another_run_is_not_taken_up(classes, tmp_path, change):
    model = lambda: (torch.manual_seed(0), nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)))[1]  # noqa: E731
    first = dvgs.value(model(), LOSS, *classes, epochs=3, work=tmp_path)
    other = dvgs.value(*change(model(), LOSS), *classes, epochs=3, work=tmp_path)
    assert other.equals(dvgs.value(*change(model(), LOSS), *classes, epochs=3)) and not other.equals(first)


def test_a_sample_larger_than_the_cache(rng, monkeypatch):
    monkeypatch.setitem(scoring.CHUNK_BYTES, "cpu", 10)
    x = rng.normal(size=(20, 6)).astype(np.float32)
    assert len(dvgs.value(make_autoencoder(6, (5,), 2, 1), reconstruction_loss, (x, None), (x, None), epochs=2)) == 20


def test_models_and_losses_that_cannot_be_used(classes):
    with pytest.raises(ValueError, match="one loss per sample"):
        dvgs.value(classifier(), nn.CrossEntropyLoss(), *classes)
    with pytest.raises(ValueError, match="no trainable parameters"):
        dvgs.value(classifier().requires_grad_(False), LOSS, *classes)
    with pytest.raises(ValueError, match="BatchNorm"):
        dvgs.value(nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), LOSS, *classes)


KILLED = """
import os, random, signal, sys, time
sys.path[:0] = [{scripts!r}]
import torch
torch.set_num_threads(1)
import dvgs, dvgs.valuation.trajectory, dvgs.limits
from dvgs.training.models import make_autoencoder, reconstruction_loss
dvgs.training.checkpoints.SECONDS, dvgs.limits.LARGEST_CHUNK = 0.02, 512

def run(folder):
    x = torch.randn(6 * 512, 40, generator=torch.Generator().manual_seed(1))
    model = make_autoencoder(40, (30,), 8, seed=1)
    table = dvgs.value(
        model, reconstruction_loss, (x, None), (x[:300], None), epochs=20, restarts=2, batch_size=100, work=folder
    )
    table.to_parquet(folder + "/values.parquet")

def in_child(folder, seconds):
    child = os.fork()
    if not child:
        run(folder)
        os._exit(0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0

start = time.monotonic()
assert in_child({undisturbed!r}, 600)
whole = time.monotonic() - start
random.seed({seed})
kills = 0
while not in_child({folder!r}, random.uniform(0, whole / 2)):
    kills += 1
print(kills)
"""


def test_killed_at_many_random_moments_it_ends_with_the_same_bytes(tmp_path):
    folders = {"undisturbed": tmp_path / "undisturbed", "folder": tmp_path / "killed"}
    for folder in folders.values():
        folder.mkdir()
    script = KILLED.format(
        scripts=str(pytest.importorskip("dvgs").__path__[0] + "/.."),
        seed=7,
        **{name: str(folder) for name, folder in folders.items()},
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 5, done.stderr
    for name in ("values.parquet", "trajectory.h5"):
        assert (folders["folder"] / name).read_bytes() == (folders["undisturbed"] / name).read_bytes(), name


def write_npz(path, classes, **changes):
    (sx, sy), (tx, ty) = classes
    arrays = {"source_x": sx, "source_y": sy, "target_x": tx, "target_y": ty} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_command_line_on_npz(tmp_path, classes):
    data = write_npz(tmp_path / "data.npz", classes)
    main(["value", str(data), "--output", str(tmp_path / "out.csv"), "--hidden", "8", "--epochs", "40", "--lr", ".01"])
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table) == ["sample", *VALUE_COLUMNS] and table["sample"].tolist() == list(range(120))
    assert table["cosine"][:40].mean() < table["cosine"][40:].mean()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.npz", "out.csv"]
    main(["value", str(write_npz(data, classes, source_y=None, target_y=None)), "--output", str(tmp_path / "o.parquet"),
          "--hidden", "5", "--latent", "2", "--epochs", "3"])  # fmt: skip
    assert len(pd.read_parquet(tmp_path / "o.parquet")) == 120


def test_command_line_trains_the_published_classifier(tmp_path, classes, monkeypatch):
    def stop(model, *_, **__):
        raise InputError("model", "model", str(model), "")

    monkeypatch.setattr(dvgs, "value", stop)
    data = write_npz(tmp_path / "data.npz", classes)
    with pytest.raises(SystemExit, match=r"Dropout\(p=0.5.*LayerNorm\(\(8,\).*elementwise_affine=False"):
        main(["value", str(data), "--output", str(tmp_path / "out.csv"), "--hidden", "8"])


def test_command_line_on_h5ad(tmp_path, classes):
    x, y = (np.concatenate(parts) for parts in zip(*classes, strict=True))
    obs = pd.DataFrame({"reference": np.arange(160) >= 120, "kind": np.array(["a", "b", "c"])[y]})
    obs.index = [f"s{i}" for i in range(160)]
    ad.AnnData(x, obs).write_h5ad(tmp_path / "data.h5ad")
    main(["value", str(tmp_path / "data.h5ad"), "--target", "reference", "--label", "kind", "--output",
          str(tmp_path / "out.tsv"), "--hidden", "8", "--epochs", "40", "--lr", "0.01"])  # fmt: skip
    table = pd.read_csv(tmp_path / "out.tsv", sep="\t")
    assert table["sample"].tolist() == [f"s{i}" for i in range(120)]
    assert table["cosine"][:40].mean() < table["cosine"][40:].mean()


def npz(**changes):
    return lambda folder, classes: write_npz(folder / "d.npz", classes, **changes)


def garbage(folder, classes):
    (folder / "d.npz").write_bytes(b"nothing")
    return folder / "d.npz"


def one_array(folder, classes):
    np.save(folder / "d.npy", classes[0][0])
    return (folder / "d.npy").rename(folder / "d.npz")


def h5ad(folder, classes):
    obs = pd.DataFrame({"target": ["yes"] * 120, "kind": [None] + ["a"] * 119}, index=[f"s{i}" for i in range(120)])
    obs["marked"] = pd.array([True, None] * 60, "boolean")
    ad.AnnData(classes[0][0], obs).write_h5ad(folder / "d.h5ad")
    return folder / "d.h5ad"


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (npz(source_x=None), [], "source_x: is missing among"),
        (npz(source_y=None), [], "one is there without the other"),
        (npz(source_x=np.array([["a"]])), [], "source_x: is no table of numbers"),
        (npz(source_x=np.array([object()])), [], "cannot be read as an .npz of plain numbers"),
        (npz(source_x=np.full((120, 5), np.inf)), [], "source_x: 120 of 120 samples hold NaN or infinity, sample 0"),
        (npz(source_y=np.full(120, 9), target_y=np.full(40, 9)), [], "1 classes have numbers up to 9; number the"),
        (npz(source_y=np.full(120, -1)), [], "source_y: is no list of class numbers"),
        (npz(target_y=np.zeros(40, int)), [], "class 1 of the source is absent from the target; add samples"),
        (npz(), ["--label", "x"], "an .npz has no columns"),
        (garbage, [], "cannot be read as an .npz"),
        (one_array, [], "cannot be read as an .npz of plain numbers"),
        (h5ad, [], "--target: is missing"),
        (h5ad, ["--target", "role"], "'role'.*is not there; --target takes one of target, kind, marked"),
        (h5ad, ["--target", "target"], "make it boolean"),
        (h5ad, ["--target", "marked"], "is boolean with 1 different values, 60 missing; make it boolean"),
        (lambda folder, classes: folder / "d.npz", [], "is not there"),
        (lambda folder, classes: folder / "d.txt", [], "is not there"),
    ],
)
def test_command_line_says_what_is_wrong_and_leaves_nothing(tmp_path, classes, make, options, message):
    data = make(tmp_path, classes)
    before = set(tmp_path.iterdir())
    with pytest.raises(SystemExit, match=message) as stopped:
        main(["value", str(data), "--output", str(tmp_path / "out.csv"), *options])
    assert "\n" not in str(stopped.value) and str(data) in str(stopped.value)
    assert set(tmp_path.iterdir()) == before
    with pytest.raises(SystemExit, match=r"neither .csv, .tsv nor .parquet"):
        main(["value", str(data), "--output", str(tmp_path / "out.xlsx")])


def test_command_line_that_diverges_leaves_nothing(tmp_path, classes):
    data = write_npz(tmp_path / "d.npz", classes, source_y=None, target_y=None)
    with pytest.raises(SystemExit, match="loss is nan at step"):
        main(["value", str(data), "--output", str(tmp_path / "out.csv"), "--lr", "1e30", "--epochs", "9"])
    assert list(tmp_path.iterdir()) == [data]


@pytest.mark.parametrize("option", ["--hidden", "--latent", "--epochs", "--threads"])
@pytest.mark.parametrize("number", ["0", "-4", "x"])
def test_command_line_takes_counts(tmp_path, classes, capsys, option, number):
    with pytest.raises(SystemExit):
        main(["value", str(tmp_path / "d.npz"), "--output", str(tmp_path / "out.csv"), option, number])
    assert f"argument {option}: invalid count value: '{number}'" in capsys.readouterr().err


def test_command_line_where_nothing_can_be_written(tmp_path, classes):
    data = write_npz(tmp_path / "d.npz", classes)
    with pytest.raises(SystemExit, match=r"d.npz/out.csv: output: .*d.npz cannot be written to; choose another folder"):
        main(["value", str(data), "--output", str(data / "out.csv")])


def test_sparse_samples(classes):
    (sx, sy), target = classes
    dense, thin = (dvgs.value(classifier(), LOSS, (x, sy), target, epochs=3) for x in (sx, sparse.csr_array(sx)))
    assert dense.equals(thin)
