"""The methods that value the samples of a task, against slow and obvious versions of themselves."""

import math
from itertools import combinations, pairwise, permutations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from task_examples import blobs

from dvgs.errors import InputError
from dvgs.methods import data_oob, data_shapley, dvrl, final_loss, gradient_norm, knn_shapley, leave_one_out
from dvgs.methods.registry import METHODS, OF_TASKS
from dvgs.methods.task import balanced
from dvgs.seeds import derive_seed
from dvgs.statistics import auroc
from dvgs.studies.experiment import value_task
from dvgs.training import checkpoints
from dvgs.training.fit import fit
from dvgs.training.schedule import Schedule

SHORT = {
    "dvgs": {"epochs": 4, "restarts": 2},
    "leave_one_out": {"epochs": 20, "learning_rate": 0.02},
    "data_shapley": {"steps": 3, "learning_rate": 0.05, "least": 6, "most": 8},
    "dvrl": {"outer": 3, "inner": 4},
    "data_oob": {"trees": 20},
    "final_loss": {"epochs": 5},
    "gradient_norm": {"epochs": 5},
}


def by_brute_force(n, utility):
    """Shapley values by their definition over all coalitions."""
    values = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            weight = 1 / (n * math.comb(n - 1, size))
            for coalition in combinations(others, size):
                values[i] += weight * (utility([*coalition, i]) - utility(list(coalition)))
    return values


@pytest.mark.parametrize("method", OF_TASKS)
@pytest.mark.parametrize("n_classes", [0, 2, 3])
def test_every_method_values_every_sample_the_same_twice(method, n_classes):
    tasks = [blobs(np.random.default_rng(3), n_classes=n_classes) for _ in range(2)]
    if n_classes == 0 and "classes" in METHODS[method].needs:
        with pytest.raises(InputError, match="no classes"):
            value_task(tasks[0], method, {})
        return
    (first, seconds), (second, _) = (value_task(task, method, SHORT.get(method)) for task in tasks)
    assert list(first) == ["value", "se"] and len(first) == 40 and seconds > 0
    assert first["value"].notna().all() and first["value"].nunique() > 1
    assert first.equals(second)
    assert first["se"].notna().all() == (method in ("dvgs", "data_shapley"))


@pytest.mark.parametrize("method", ["dvgs", "knn_shapley", "data_oob", "final_loss", "gradient_norm", "data_shapley"])
def test_wrong_labels_are_found(rng, method):
    task = blobs(rng, n=60, n_target=60, wrong=12, hidden=(16,), dropout=0)
    settings = {"steps": 30, "learning_rate": 1e-2, "least": 4, "most": 4} if method == "data_shapley" else {}
    found, _ = value_task(task, method, settings)
    assert auroc(found["value"].to_numpy(), np.arange(60) < 12)[0] > 0.75


@pytest.mark.parametrize("similarity", ["dot", "projection", "l2", "loss"])
def test_dvgs_by_other_similarities(rng, similarity):
    task = blobs(rng, n=60, n_target=60, wrong=12, hidden=(16,), dropout=0)
    short = {"epochs": 100, "restarts": 1}
    usual, _ = value_task(task, "dvgs", short)
    found, _ = value_task(task, f"dvgs_{similarity}", short | {"similarity": similarity})
    assert not found["value"].equals(usual["value"]) and found["se"].isna().all()
    assert auroc(found["value"].to_numpy(), np.arange(60) < 12)[0] > 0.65


def test_dvrl_learns_to_select_what_is_rewarded(rng, monkeypatch):
    task = blobs(rng, n=60, wrong=12, hidden=(16,), dropout=0)
    monkeypatch.setattr(dvrl, "_reward", lambda task, rows, *_: -(rows < 12).float().mean().item())
    assert auroc(dvrl.value(task, outer=200), np.arange(60) < 12)[0] > 0.9


def test_knn_shapley_is_the_shapley_value_of_a_knn_classifier(rng):
    task, k = blobs(rng, n=7, n_target=5, wrong=2), 3
    (x, y), (target_x, target_y) = ([part.numpy() for part in pair] for pair in (task.source, task.target))

    def utility(coalition):
        total = 0
        for z, c in zip(target_x, target_y, strict=True):
            nearest = sorted(coalition, key=lambda i: np.linalg.norm(x[i] - z))[:k]
            total += sum(y[i] == c for i in nearest) / k
        return total / len(target_x)

    assert np.allclose(knn_shapley.value(task, k=k), by_brute_force(7, utility))
    assert np.allclose(knn_shapley.value(task, k=9).sum(), np.mean(y[:, None] == target_y) * 7 / 9)


def test_data_oob_against_its_definition(rng, monkeypatch):
    from sklearn.ensemble import RandomForestClassifier

    task = blobs(rng, n_classes=3)
    x, y = (part.numpy() for part in task.source)
    forest = RandomForestClassifier(15, random_state=derive_seed(1, "forest") % 2**32).fit(x, y)
    expected = []
    for i in range(40):
        hits = [
            tree.predict(x[i : i + 1])[0] == y[i]
            for tree, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True)
            if i not in drawn
        ]
        expected.append(np.mean(hits))
    assert np.allclose(data_oob.value(task, trees=15), expected)
    monkeypatch.setattr(data_oob, "TREE_CHUNK", 4)
    assert np.allclose(data_oob.value(task, trees=15), expected)


@pytest.mark.parametrize("n", [2, 4])
def test_data_oob_of_few_samples(rng, n):
    found = data_oob.value(blobs(rng, n=n), trees=30)
    assert len(found) == n and (np.isnan(found) | ((found >= 0) & (found <= 1))).all()


def test_final_loss_and_gradient_norm_against_autograd(rng):
    task, training = blobs(rng), {"epochs": 6, "learning_rate": 0.01}
    schedule = Schedule(**training, batch_size=500)
    model = task.train_on_target(schedule)
    others = [task.train_on_target(schedule, restart) for restart in (1, 2)]
    losses, of_three, norms = [], [], []
    for x, y in zip(*task.source, strict=True):
        loss = task.loss(model(x[None]), y[None]).sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        losses.append(loss.item())
        of_three.append(np.mean([task.loss(one(x[None]), y[None]).item() for one in (model, *others)]))
        norms.append(torch.cat([g.flatten() for g in gradients]).norm().item())
    assert np.allclose(final_loss.value(task, **training, restarts=1), np.negative(losses), atol=1e-5)
    assert np.allclose(final_loss.value(task, **training), np.negative(of_three), atol=1e-5)
    assert np.allclose(gradient_norm.value(task, **training), np.negative(norms), atol=1e-5)


def test_loss_after_a_training_in_which_classes_count_alike(rng):
    task = blobs(rng)
    (x, y), (target_x, target_y) = task.source, task.target
    rare = torch.cumsum(target_y, 0) * target_y > 3  # only three of one class are left
    task.target = target_x, target_y = target_x[~rare], target_y[~rare]
    found, _ = value_task(task, "final_loss_balanced", {"epochs": 6, "restarts": 1, "class_balance": True})
    schedule, seed = Schedule(steps=6, batch_size=500, learning_rate=1e-3), derive_seed(task.seed, "target")
    model = fit(task.start(), task.loss, (target_x, balanced(target_y, 2)), schedule, seed).eval()
    assert len(target_x) <= 500 and np.allclose(found["value"], -task.loss(model(x), y).detach(), atol=1e-6)
    assert not found["value"].equals(value_task(task, "final_loss", {"epochs": 6, "restarts": 1})[0]["value"])


def alone(task, rows, steps, batch_size, learning_rate):
    """The utility of a coalition by training on it alone."""
    model = task.start()
    if len(rows):
        schedule = Schedule(steps=steps, batch_size=batch_size, learning_rate=learning_rate)
        x, y = task.source
        fit(model, task.loss, (x[rows], y[rows]), schedule, derive_seed(1, "coalition"))
    return task.score(model, *task.target)


def test_leave_one_out_against_one_training_at_a_time(rng):
    task = blobs(rng, n=12, n_classes=0)
    found = leave_one_out.value(task, epochs=5, batch_size=5, learning_rate=0.01)
    whole = alone(task, list(range(12)), 15, 5, 0.01)
    expected = [whole - alone(task, [j for j in range(12) if j != i], 15, 5, 0.01) for i in range(12)]
    assert np.allclose(found, expected, atol=1e-5)


def test_standard_error_of_data_shapley_is_that_of_the_mean_over_permutations(rng):
    task, settings = blobs(rng, n=8, hidden=(4,)), {"steps": 5, "learning_rate": 0.05, "tolerance": 0}
    found = [data_shapley.value(task, **settings, least=k, most=k) for k in range(1, 6)]
    sums = np.array([np.zeros(8), *(k * table["value"] for k, table in enumerate(found, start=1))])
    contributions = np.diff(sums, axis=0)  # of one permutation after the other
    assert found[0]["se"].isna().all()
    assert np.allclose(found[4]["se"], np.sqrt(contributions.var(axis=0, ddof=1) / 5), atol=1e-12)


def test_data_shapley_of_all_permutations_is_the_shapley_value(rng, monkeypatch):
    task = blobs(rng, n=4, n_classes=0)
    every = list(permutations(range(4)))

    class Drawn:
        def __init__(self, k):
            self.permutation = lambda n: np.array(every[k])

    monkeypatch.setattr(data_shapley, "generator", lambda seed, what, k: Drawn(k))
    settings = {"steps": 5, "learning_rate": 0.05, "tolerance": 0, "least": 24, "most": 24, "size": 5}
    found = data_shapley.value(task, **settings)
    utility = {c: alone(task, list(c), 5, 4, 0.05) for size in range(5) for c in combinations(range(4), size)}
    expected = by_brute_force(4, lambda rows: utility[tuple(sorted(rows))])
    assert np.allclose(found["value"], expected, atol=1e-5)
    assert found["value"].sum() == pytest.approx(utility[0, 1, 2, 3] - utility[()], abs=1e-5)


def test_side_by_side_is_one_by_one(rng, caplog):
    task = blobs(rng, n=10)
    settings = {"steps": 4, "learning_rate": 0.02, "tolerance": 0.05, "patience": 1, "least": 7, "most": 11}
    settings["converged"] = 0.5
    with caplog.at_level("INFO", "dvgs"):
        first, *others = (data_shapley.value(task, **settings, size=size) for size in (1, 4, 11))
    assert "data_shapley: up to 1.6 times as long" in caplog.text
    for other in others:
        assert np.allclose(first, other, atol=1e-6)


def test_no_permutation_is_begun_that_the_least_does_not_need(rng, monkeypatch):
    original, drawn = data_shapley.generator, []
    monkeypatch.setattr(data_shapley, "generator", lambda seed, what, k: drawn.append(k) or original(seed, what, k))
    data_shapley.value(blobs(rng, n=5), steps=2, least=7, most=11, converged=-2, size=5)
    assert drawn == list(range(7))


@pytest.mark.parametrize("last", [4, 11])  # in the first round, in the second
def test_killed_and_asked_for_fewer_permutations(tmp_path, monkeypatch, last):
    settings = {"steps": 2, "learning_rate": 0.02, "tolerance": 0, "size": 4}
    monkeypatch.setattr(checkpoints, "SECONDS", 0)
    original, calls = data_shapley.utilities, []

    def train(*args, **keywords):
        calls.append(1)
        if len(calls) > last:
            raise KeyboardInterrupt
        return original(*args, **keywords)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(data_shapley, "utilities", train)
        value_task(blobs(np.random.default_rng(3), n=8, work=tmp_path), "data_shapley", settings | {"most": 8})
    for most in (3, 4, 6):
        fewer = settings | {"most": most}
        kept = value_task(blobs(np.random.default_rng(3), n=8, work=tmp_path), "data_shapley", fewer)[0]
        assert kept.equals(value_task(blobs(np.random.default_rng(3), n=8), "data_shapley", fewer)[0])


def test_truncation_ends_a_walk():
    walk = data_shapley._Walk([np.arange(5), np.arange(5)[::-1]], 0.5, None)
    for position in range(4):
        assert [len(c) for c in walk.coalitions()] == [position + 1] * len(walk.active)
        walk.go([0.6 + position / 10, 0.99][: len(walk.active)], everything=1.0, tolerance=0.03, patience=1)
    assert walk.active == [0]
    assert np.allclose(walk.contributions, [[0.1, 0.1, 0.1, 0.1, 0], [0, 0, 0, 0, 0.49]])


def test_stopping_rule_against_its_definition(rng):
    contributions = rng.normal(size=(40, 12)) + 2 * np.arange(12)
    for least, converged in ((6, 0.9), (20, 0.9), (6, 0.99), (6, 1.1)):
        expected = None
        for n in range(max(least, 6), 41):
            means = [contributions[:k].mean(axis=0) for k in range(1, n + 1)]
            recent = [spearmanr(a, b).statistic for a, b in pairwise(means)][-5:]
            if np.mean(recent) > converged:
                expected = n
                break
        assert data_shapley.n_needed(contributions, least, converged) == expected
    assert data_shapley.n_needed(contributions[:3], 1, 0) is None


RESUMED = ["leave_one_out", "data_shapley", "dvrl", "knn_shapley", "data_oob", "final_loss", "gradient_norm"]


@pytest.mark.parametrize("method", [*RESUMED, "reconstruction_error"])
def test_a_killed_valuation_goes_on_to_the_same_values(tmp_path, monkeypatch, method):
    settings, original, calls = SHORT.get(method, {}), checkpoints.Checkpoint.save, []
    settings |= {"size": 3} if method == "data_shapley" else {}
    monkeypatch.setattr(checkpoints, "SECONDS", 0)
    monkeypatch.setattr(leave_one_out, "at_once", lambda *_: 2)
    monkeypatch.setattr(knn_shapley, "TARGET_CHUNK", 2)
    monkeypatch.setattr(data_oob, "TREE_CHUNK", 3)

    def value(work, last=None):
        """Values, unless that ends with the last writing of a state."""
        calls.clear()

        def save(checkpoint, state):
            original(checkpoint, state)
            calls.append(1)
            if len(calls) == last:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints.Checkpoint, "save", save)
            return value_task(blobs(np.random.default_rng(3), n=12, work=work), method, settings)[0]

    (tmp_path / "whole").mkdir()
    whole = value(tmp_path / "whole")
    n_calls = len(calls)
    assert whole.equals(value(None))
    for last in (2, 1):
        with pytest.raises(KeyboardInterrupt):
            value(tmp_path, last)
    assert value(tmp_path).equals(whole) and len(calls) < n_calls


def test_state_of_other_data_settings_or_torch_is_not_taken_up(tmp_path, monkeypatch):
    task, other = (blobs(np.random.default_rng(seed), work=tmp_path) for seed in (3, 4))
    task.checkpoint("a", 5).save({"done": 3})
    assert task.checkpoint("a", 5).load() == {"done": 3}
    assert other.checkpoint("a", 5).load() is None and task.checkpoint("a", 6).load() is None
    monkeypatch.setattr(torch, "__version__", "1.0")
    assert task.checkpoint("a", 5).load() is None


def test_what_takes_too_long_is_refused(rng, monkeypatch, caplog):
    task = blobs(rng, most_hours=1e-9)
    for module, trains in ((leave_one_out, "utilities"), (data_shapley, "utilities"), (dvrl, "fit")):
        monkeypatch.setattr(module, trains, None)  # nothing is trained except for the estimate
    caplog.set_level("INFO", "dvgs")
    for method in ("leave_one_out", "data_shapley", "dvrl"):
        with pytest.raises(InputError, match="trainings would take about") as error:
            value_task(task, method, {})
        assert "\n" not in str(error.value)
    assert "data_shapley: 8000 trainings" in caplog.text  # 200 permutations of 40
    with pytest.raises(InputError, match="400 trainings"):
        value_task(task, "data_shapley", {"most": 10})
    assert "leave_one_out: 41 trainings of 200 steps" in caplog.text
