"""The tables of settings, size, time, LINCS and the natural gradient say what the CSV files below data say."""

import pandas as pd
import pytest

from .pages import METHODS, STUDIES, bare, numbers, plain, table_of

DATA = STUDIES / "data"
FULL = DATA / "full"


def rounded(*values):
    """Values of a file with four decimals, as a page with three may print them: the last digit of a half is open."""
    return pytest.approx(values, abs=0.00051)


def check_spread(study, among, cells):
    row = pd.read_csv(FULL / study / "hyperparameter_summary.csv").set_index("among").loc[among]
    shares = [f"{100 * row[f'within_{percent}']:.1f} %" for percent in (10, 25)]
    assert [number for cell in cells[:4] for number in numbers(cell)] == rounded(
        *row[["highest", "median", "mean", "lowest"]]
    ), among
    assert cells[4:] == shares[: len(cells) - 4], among


def test_the_spread_of_the_grid_of_adult():
    _, rows = table_of("hyperparameters.md", "| settings |")
    ours = {name.removesuffix(", ours"): cells for name, *cells in rows if name.endswith(", ours")}
    assert set(ours) == {"all", "cosine", "cosine at 0.001", "dot", "projection", "l2"}
    for among, cells in ours.items():
        check_spread("adult_labels", among, cells)


def test_the_spread_of_the_grid_of_blog():
    _, rows = table_of("hyperparameters.md", "| settings |", 1)
    assert [row[0] for row in rows] == ["cosine", "dot", "projection", "l2"]
    for among, *cells in rows:
        check_spread("blog_labels", among, cells)


def effects_of(study):
    return pd.read_csv(FULL / study / "hyperparameter_effects.csv").set_index(["among", "factor", "level"])


def test_the_effects_of_the_grid():
    header, rows = table_of("hyperparameters.md", "| factor | level |")
    effects, factor = effects_of("adult_labels"), None
    for name, level, *cells in rows:
        factor = name.replace(" ", "_") or factor
        level = level.title() if level in ("true", "false") else level
        for among, cell in zip(header[2:], cells, strict=True):
            if among.endswith(", ours") and cell:
                row = effects.loc[among.removesuffix(", ours"), factor, level]
                names = ("mean", "difference", "difference_low", "difference_high")
                assert numbers(cell) == rounded(*row[list(names[: 1 if name else 4])]), (factor, level, among)


def test_effects_at_the_published_learning_rate():
    _, rows = table_of("hyperparameters.md", "| at the cosine and 0.001 |")
    choices = {
        "no norms": ("norm", "False"),
        "classes as they are": ("class_balance", "False"),
        "no dropout": ("dropout", "0.0"),
        "dropout 0.25": ("dropout", "0.25"),
        "dropout 0.75": ("dropout", "0.75"),
        "batches of 100": ("batch_size", "100"),
        "one hidden layer": ("layers", "1"),
        "ReLU": ("activation", "relu"),
    }
    assert [row[0] for row in rows] == list(choices)
    for study, column in (("adult_labels", 2), ("blog_labels", 4)):
        effects = effects_of(study)
        for row in rows:
            if row[column]:
                of = effects.loc[("cosine at 0.001", *choices[row[0]])]
                shown = rounded(*of[["difference", "difference_low", "difference_high"]])
                assert numbers(row[column]) == shown, (study, row[0])


def test_the_table_of_scalability():
    header, rows = table_of("scalability.md", "| `every` |")
    slopes = pd.read_csv(FULL / "adult_labels/scalability_slopes.csv").set_index("every")
    quality = pd.read_csv(FULL / "adult_labels/scalability_quality.csv").set_index(["every", "measure"])
    for row in rows:
        cells, every = dict(zip(header, row, strict=True)), int(row[0])
        of, auroc, lost = slopes.loc[every], quality.loc[every, "auroc"], quality.loc[every, "difference"]
        assert cells["seconds at 32,000"] == f"{of['seconds']:.1f}"
        assert cells["slope, all sources"] == f"{of['slope']:.2f}"
        assert cells["slope, 16,000 to 32,000"] == f"{of['slope_large']:.2f}"
        assert cells["AUROC [95 %]"] == f"{bare(auroc['mean'])} [{bare(auroc['low'])}, {bare(auroc['high'])}]"
        if every > 1:
            assert cells["times faster"] == f"{of['speedup']:.1f}"
            shown = f"{bare(-lost['mean'])} [{bare(-lost['high'])}, {bare(-lost['low'])}]"
            assert cells["less than every step [95 %]"] == shown


def test_the_table_of_run_times():
    header, rows = table_of("run_time.md", "| method | wrong labels: ADULT |")
    studies = ["adult_labels", "blog_labels", "cifar10_labels", "adult_noise", "blog_noise", "cifar10_noise"]
    studies.append("cifar10_autoencoder")
    assert len(header) == len(studies) + 1
    times = pd.read_csv(FULL / "run_times.csv").set_index(["study", "method"])
    for name, *cells in rows:
        for study, cell in zip(studies, cells, strict=True):
            if cell:
                method = "dvgs" if name == "DVGS, seconds" else METHODS[name.removeprefix("times DVGS: ")]
                of = times.loc[(study, method), "seconds" if method == "dvgs" else "ratio"]
                assert float(cell) == pytest.approx(of, abs=0.51 * 10 ** -len(cell.partition(".")[2])), (study, name)


def test_the_filter_curves_of_the_demo():
    names = {"reconstruction error": "reconstruction_error", "norm of the features": "profile_norm"}
    names |= {"DVGS": "dvgs", "APC": "apc", "random": "random"}
    lines, checked = (STUDIES / "lincs.md").read_text().splitlines(), 0
    for line in lines:
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        target, _, method = name.partition(": ")
        target, _, profiles = target.partition(", with an ")
        if target in ("general", "high_apc"):
            method, _, drop = method.partition(", ")
            curves = (
                pd.read_csv(DATA / f"demo/{target}/curves.csv").set_index(["profiles", "method", "drop"]).sort_index()
            )
            curves = curves.loc["with_apc" if profiles else "all", names[method], drop.split()[0]]
            means = curves.groupby("quantile")["r2"].mean()
            assert cells == [plain(means[share]) for share in (0, 0.1, 0.3, 0.6)], name
            checked += 1
    assert checked == 20


def test_the_correlations_of_the_demo():
    _, rows = table_of("lincs.md", "| Pearson |")
    for row, target in zip(rows, ("general", "high_apc"), strict=False):
        table = pd.read_csv(DATA / f"demo/{target}/correlations.csv").set_index(["similarity", "by"]).sort_index()
        of = table.loc[("cosine", "overall")].iloc[0]
        shown = f"{plain(of['pearson'])} [{plain(of['pearson_low'])}, {plain(of['pearson_high'])}]"
        assert row[2] == shown, target


def test_the_table_of_the_natural_gradient():
    _, rows = table_of("natural_gradient.md", "| study | measure |")
    assert len(rows) == 7
    for study, measure, with_gradient, with_natural, better, area, _ in rows:
        folder = STUDIES / study.partition("](")[2].removesuffix("/summary.csv)")
        measure = {"AUROC": "auroc", "Spearman with noise": "spearman_noise"}[measure]
        summary, comparisons = (pd.read_csv(folder / f"{name}.csv") for name in ("summary", "comparisons"))
        means = summary.set_index(["measure", "method"])["mean"][measure]
        assert (with_gradient, with_natural) == (bare(means["dvgs"]), bare(means["dvgs_natural"])), study
        of = comparisons[(comparisons["dvgs"] == "dvgs") & (comparisons["method"] == "dvgs_natural")]
        of = of.set_index("measure").loc[[measure, "area"]]
        for cell, (_, row) in zip((better, area), of.iterrows(), strict=True):
            gain = -row["mean"], *sorted((-row["low"], -row["high"]))
            mean = f"**{bare(gain[0])}**" if row["better"] or row["worse"] else bare(gain[0])
            assert cell == f"{mean} [{bare(gain[1])}, {bare(gain[2])}]", (study, cell)
