"""python -m dvgs: the library from a shell."""

import argparse
import logging
import os
import shutil
import sys
from pathlib import Path

from dvgs.errors import InputError

EPILOG = """
An .npz holds source_x and target_x, and source_y and target_y (class numbers from 0) for a classifier. An .h5ad holds
profiles in .X; --target names a boolean column of .obs, true for the target, and --label a column of classes.
Without classes an autoencoder is trained. Features are taken as they are: centre them before, and even out long tails,
for instance by their ranks. What was killed goes on when the same command is given again.
"""


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m dvgs", description=sys.modules["dvgs"].__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add_value(commands)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        options.run(options)
    except InputError as error:
        sys.exit(f"error: {error}")


def add_value(commands):
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
    add("--label", metavar="COLUMN", help="column of .obs with classes to learn (.h5ad); none: an autoencoder")
    add("--hidden", type=count, nargs="*", default=[256, 256], metavar="N", help="widths of the hidden layers")
    add("--latent", type=count, default=64, metavar="N", help="width of the latent layer of an autoencoder")
    add("--epochs", type=count, default=100, metavar="N", help="passes over the target")
    add("--restarts", type=count, default=1, metavar="N", help="runs from different random weights to average over")
    add("--lr", type=float, default=1e-3, metavar="RATE", help="learning rate of Adam")
    add("--batch-size", type=count, metavar="N", help="target samples a step; none: all")
    add("--every", type=count, default=1, metavar="N", help="steps from one comparison of gradients to the next")
    add("--stable", type=float, metavar="R", help="stop training when the ranking is stable to this correlation")
    add("--seed", type=int, default=0, metavar="N", help="of weights, batches and restarts")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute")
    add("--precision", choices=["float32", "tf32", "bf16"], default="float32", help="numbers for scoring")
    add("--threads", type=count, metavar="N", help="CPU threads; none: as many as torch finds")


def count(text):
    """A whole number of at least 1, for argparse."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def run_value(options):
    import torch

    from dvgs import value
    from dvgs.io.files import write_csv, write_parquet
    from dvgs.io.samples import read_samples
    from dvgs.training.models import make_autoencoder, make_classifier, reconstruction_loss

    if options.output.suffix not in (".csv", ".tsv", ".parquet"):
        raise InputError(options.output, "output", "is neither .csv, .tsv nor .parquet", "choose one of these")
    folder = next(path for path in options.output.absolute().parents if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(options.output, "output", f"{folder} cannot be written to", "choose another folder")
    if options.threads:
        torch.set_num_threads(options.threads)
    names, source, target = read_samples(options.data, options.target, options.label)
    if target[1] is None:
        model = make_autoencoder(target[0].shape[1], options.hidden, options.latent, options.seed)
        loss = reconstruction_loss
    else:
        classes = {*target[1].tolist()}
        if absent := {*source[1].tolist()} - classes:
            problem = f"class {min(absent)} of the source is absent from the target"
            raise InputError(options.data, "classes", problem, "add samples of it to the target, or leave it out")
        if max(classes) >= len(classes):
            problem = f"{len(classes)} classes have numbers up to {max(classes)}"
            raise InputError(options.data, "classes", problem, "number the classes from 0 without gaps")
        widths = target[0].shape[1], options.hidden, len(classes)
        model = make_classifier(*widths, options.seed, dropout=0.5, norm=True)  # as published
        loss = torch.nn.CrossEntropyLoss(reduction="none")
    work = options.output.with_name(f".{options.output.name}.work")
    settings = ("epochs", "restarts", "lr", "batch_size", "every", "stable", "seed", "device", "precision")
    try:
        table = value(model, loss, source, target, **{name: getattr(options, name) for name in settings}, work=work)
    except InputError:  # the same again would not help
        shutil.rmtree(work, ignore_errors=True)
        raise
    for row in table.attrs.pop("convergence"):
        what = "alternate halves of" if row["steps"] == "alternate" else f"the first {row['steps']} and all of"
        logging.info("rank correlation between %s the steps: %.4f", what, row["spearman"])
    table.insert(0, "sample", names)
    if options.output.suffix == ".parquet":
        write_parquet(options.output, table)
    else:
        write_csv(options.output, table, sep="\t" if options.output.suffix == ".tsv" else ",")
    shutil.rmtree(work)
    logging.info("%d values in %s", len(table), options.output)


if __name__ == "__main__":
    main()
