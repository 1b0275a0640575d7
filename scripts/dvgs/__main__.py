"""python -m dvgs: the library from a shell."""

import argparse
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dvgs.errors import InputError

EPILOG = """
An .npz holds source_x and target_x, and for a classifier also source_y and target_y (class numbers from 0). An .h5ad
holds profiles in .X. --target names a boolean column of .obs that is true for the target, and --label a column of
classes. Without classes an autoencoder is trained. Features are used as they are: centre them first, and even out long
tails, for instance by their ranks. A run that was killed continues when the same command is given again.
"""
Samples = tuple[np.ndarray, np.ndarray | None]  # x float32 (n, features), y int64 (n,) or None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command of these arguments, by default those of the shell. Exits with status 1 for an InputError."""
    parser = argparse.ArgumentParser(prog="python -m dvgs", description=sys.modules["dvgs"].__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add_value(commands)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        options.run(options)
    except InputError as error:
        sys.exit(f"error: {error}")


def add_value(commands: Any) -> None:
    """Add the command `value`, with its options, to the subparsers of argparse."""
    parser = commands.add_parser(
        "value",
        help="value the samples of an .h5ad or .npz",
        description="Value every source sample by how well its gradient agrees with the target's while a model is "
        "trained on the target.",
        epilog=EPILOG,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=run_value)
    add = parser.add_argument
    add("data", type=Path, help=".h5ad or .npz, see below")
    add("--output", type=Path, required=True, help="table of values, .csv, .tsv or .parquet")
    add("--target", metavar="COLUMN", help="boolean column of .obs that is true for the target (.h5ad)")
    add("--label", metavar="COLUMN", help="column of .obs with classes to learn (.h5ad); none: train an autoencoder")
    add("--hidden", type=count, nargs="*", default=[256, 256], metavar="N", help="widths of the hidden layers")
    add("--latent", type=count, default=64, metavar="N", help="width of the latent layer of an autoencoder")
    add("--epochs", type=count, default=100, metavar="N", help="passes over the target")
    add("--restarts", type=count, default=1, metavar="N", help="runs from different random weights to average over")
    add("--lr", type=float, default=1e-3, metavar="RATE", help="learning rate of Adam")
    add("--batch-size", type=count, metavar="N", help="target samples per step; none: all")
    add("--every", type=count, default=1, metavar="N", help="steps from one comparison of gradients to the next")
    add("--stable", type=float, metavar="R", help="stop training when the ranking is stable to this correlation")
    add("--seed", type=int, default=0, metavar="N", help="seed of weights, batches and restarts")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute")
    add("--precision", choices=["float32", "tf32", "bf16"], default="float32", help="precision of scoring")
    add("--threads", type=count, metavar="N", help="CPU threads; none: the default of torch")


def count(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def run_value(options: argparse.Namespace) -> None:
    """Value the source samples of the file that the options name, and write the table."""
    import torch

    from dvgs import value
    from dvgs.io.samples import read_samples

    check_output(options.output)
    if options.threads:
        torch.set_num_threads(options.threads)
    names, source, target = read_samples(options.data, options.target, options.label)
    model, loss = make_model(options, source, target)
    work = options.output.with_name(f".{options.output.name}.work")
    settings = ("epochs", "restarts", "lr", "batch_size", "every", "stable", "seed", "device", "precision")
    try:
        table = value(model, loss, source, target, **{name: getattr(options, name) for name in settings}, work=work)
    except InputError:  # the same command would fail again, so what it left is of no use
        shutil.rmtree(work, ignore_errors=True)
        raise
    log_convergence(table.attrs.pop("convergence"))
    table.insert(0, "sample", names)
    write_table(options.output, table)
    shutil.rmtree(work)
    logging.info("%d values in %s", len(table), options.output)


def check_output(path: Path) -> None:
    """InputError if the table cannot be written to this path."""
    if path.suffix not in (".csv", ".tsv", ".parquet"):
        raise InputError(path, "output", "is neither .csv, .tsv nor .parquet", "choose one of these")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(path, "output", f"{folder} cannot be written to", "choose another folder")


def make_model(options: argparse.Namespace, source: Samples, target: Samples) -> tuple[Any, Callable]:
    """The model and its loss: an autoencoder for samples without classes, otherwise a classifier."""
    import torch

    from dvgs.training.models import make_autoencoder, make_classifier, reconstruction_loss

    n_features = target[0].shape[1]
    if source[1] is None or target[1] is None:
        return make_autoencoder(n_features, options.hidden, options.latent, options.seed), reconstruction_loss
    n_classes = count_classes(options.data, source[1], target[1])
    model = make_classifier(n_features, options.hidden, n_classes, options.seed, dropout=0.5, norm=True)  # as published
    return model, torch.nn.CrossEntropyLoss(reduction="none")


def count_classes(path: Path, source: np.ndarray, target: np.ndarray) -> int:
    """The number of classes of the target. InputError for classes of the source alone, and for gaps in the numbers."""
    classes = {*target.tolist()}
    if absent := {*source.tolist()} - classes:
        problem = f"class {min(absent)} of the source is absent from the target"
        raise InputError(path, "classes", problem, "add samples of it to the target, or leave it out")
    if max(classes) >= len(classes):
        problem = f"{len(classes)} classes have numbers up to {max(classes)}"
        raise InputError(path, "classes", problem, "number the classes from 0 without gaps")
    return len(classes)


def log_convergence(rows: list[dict]) -> None:
    for row in rows:
        what = "alternate halves of" if row["steps"] == "alternate" else f"the first {row['steps']} and all of"
        logging.info("rank correlation between %s the steps: %.4f", what, row["spearman"])


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write the table in the format that the name says: .parquet, .tsv or .csv."""
    from dvgs.io.files import write_csv, write_parquet

    if path.suffix == ".parquet":
        write_parquet(path, table)
    else:
        write_csv(path, table, sep="\t" if path.suffix == ".tsv" else ",")


if __name__ == "__main__":
    main()
