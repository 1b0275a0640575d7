"""Are compounds that share a drug target more similar after profiles of low value are dropped?

A network learns to predict profiles from perturbagen, cell line, time and dose. It learns an embedding of every
perturbagen. Embeddings of compounds that share a drug target are compared with those of compounds that share none,
after training on the profiles that each method keeps. The question is that of arXiv 2405.08217. The code of that paper
matched compounds and targets by row numbers of different tables; here they are joined by id. All trainings take equally
many steps, and those of a replicate start from the same weights. The same compounds are compared everywhere: every
training saw enough profiles of them, and each shares a drug target with another one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from dvgs.errors import InputError
from dvgs.evaluation.compound_pairs import (
    contrast,
    cosine_of_pairs,
    describe,
    draw_counts,
    draw_exchanges,
    p_value,
    share_label,
)
from dvgs.filtering.curves import keep_mask
from dvgs.io.tables import MISSING, doses_in_micromolar, read_table
from dvgs.progress import Progress, logger
from dvgs.seeds import derive_seed, generator
from dvgs.training.fit import Training
from dvgs.training.models import make_perturbation_model, reconstruction_loss
from dvgs.training.schedule import Schedule

ALL = "all"  # in the column of replicates: their mean
LIMITS = ("", "_low", "_high")
PAIR_COLUMNS = [
    "method",
    "quantile",
    "replicate",
    "n_profiles",
    "steps",
    "n_compounds",
    "n_pairs",
    "n_random_pairs",
]
PAIR_COLUMNS += ["cosine_same", "cosine_random", *(f"difference{end}" for end in LIMITS), "p"]
PAIR_COLUMNS += [
    *(f"auroc{end}" for end in LIMITS),
    *(f"{name}{end}" for name in ("change", "gain") for end in LIMITS),
]
PAIR_COLUMNS += ["reason"]


def read_drug_targets(path: Path | str) -> pd.DataFrame:
    """compoundinfo_beta.txt as a DataFrame of text `pert_id, target`, every pair once, sorted.

    One row for each compound and target, as in LINCS 2020; a row may also have several targets, with ; or | between.
    Rows without one of the two are left out. Raises InputError if a column is missing.
    """
    table = read_table(path, "input.compoundinfo", ["pert_id", "target"])[["pert_id", "target"]]
    table = table.assign(target=table["target"].str.split(r"[;|]", regex=True)).explode("target")
    table = table.apply(lambda column: column.str.strip(' "'))
    table = table[(table["pert_id"].fillna("") != "") & (table["target"].fillna("") != "")]
    return table.drop_duplicates().sort_values(["pert_id", "target"], ignore_index=True)


def encode_conditions(obs: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The conditions of each profile, as input of PerturbationModel.

    obs: siginfo, indexed by profile id; without pert_dose_unit, doses are in µM. Returns a float32 DataFrame
    `perturbagen, cell, time, dose` of the profiles for which all four are known, and the sorted perturbagens:
    perturbagen and cell are positions among sorted ids; time and log10 dose have mean 0 and standard deviation 1. The
    log says what the other profiles lack.
    """
    obs = obs.reindex(columns=["pert_id", "cell_iname", "pert_time", "pert_dose", "pert_dose_unit"])
    time, dose = pd.to_numeric(obs["pert_time"], errors="coerce"), doses_in_micromolar(obs)
    unknown = {name: obs[name].isna() | obs[name].astype(str).isin(MISSING) for name in ("pert_id", "cell_iname")}
    unknown |= {"pert_time": ~(time > 0), "pert_dose in µM": ~(dose > 0)}
    for name, profiles in unknown.items():
        if profiles.any():
            logger.info("%d of %d profiles are left out because they have no %s", profiles.sum(), len(obs), name)
    known = ~pd.DataFrame(unknown).any(axis=1)
    obs, time, dose = obs[known], time[known], np.log10(dose[known])
    perturbagen, perturbagens = pd.factorize(obs["pert_id"].astype(str), sort=True)
    cell, _ = pd.factorize(obs["cell_iname"].astype(str), sort=True)
    columns = {"perturbagen": perturbagen, "cell": cell, "time": _standardised(time), "dose": _standardised(dose)}
    return pd.DataFrame(columns, index=obs.index).astype(np.float32), perturbagens


def _standardised(column):
    spread = column.std(ddof=0)
    return (column - column.mean()) / (spread if spread > 0 else 1)


@dataclass(frozen=True)
class DrugTargetSettings:
    """What is compared, and by which network.

    methods: names of columns of values. quantiles: shares of the profiles to drop, lowest values first; 0 is always
    added. min_profiles: of a compound, in every training. embedding, hidden: widths of the network.
    schedule: of one training on all profiles; all take as many steps. n_draws: bootstrap resamples and permutations.
    """

    methods: list[str]
    quantiles: list[float]
    replicates: int
    min_profiles: int
    embedding: int
    hidden: list[int]
    schedule: Schedule
    n_draws: int

    @classmethod
    def from_config(cls, n_draws: int, **settings: Any) -> "DrugTargetSettings":
        schedule, others = Schedule.split(settings)
        return cls(**others, schedule=schedule, n_draws=n_draws)


def compare_drug_targets(
    load: Callable[[np.ndarray], torch.Tensor],
    obs: pd.DataFrame,
    values: pd.DataFrame,
    drug_targets: pd.DataFrame,
    settings: DrugTargetSettings,
    seed: int,
) -> pd.DataFrame:
    """Pairs of compounds that share a drug target against pairs that share none, by method, quantile and replicate.

    load(rows): the profiles of some rows of obs, (n, genes) float32 on the device to train on, as `fit` takes them.
    obs: siginfo, indexed by profile id. values: DataFrame by profile id, in any order, one column a method ("random" is
    drawn here, again in every replicate); profiles without a value by some method are left out. drug_targets: from
    read_drug_targets.

    Returns a DataFrame of PAIR_COLUMNS: means of cosine similarity and their difference; AUROC; `change`, the
    difference minus that without dropping; `gain`, the difference minus that after dropping as many at random (0 for
    the same training, NaN if random is not among the methods); with 95 % intervals (see compound_pairs: other
    compounds, the same drug targets). Rows of replicate "all" are means over replicates; their intervals also resample
    replicates. p is one-sided, for the difference. If nothing can be compared, there is one row, with the cause in
    `reason`. Raises InputError if a profile has no row among the values, or an id has two.
    """
    methods = list(dict.fromkeys(settings.methods))
    conditions, perturbagens = encode_conditions(obs)
    values = _join(values, conditions.index, [name for name in methods if name != "random"])
    valued = values.notna().all(axis=1)
    if not valued.all():
        logger.info(
            "%d of %d profiles are left out because a method has no value for them", (~valued).sum(), len(values)
        )
    conditions, values = conditions[valued], values[valued]
    masks = kept_by_method(values, methods, sorted({0.0, *settings.quantiles}), settings.replicates, seed)
    least = settings.min_profiles
    positions = _compared(conditions["perturbagen"].to_numpy(int), perturbagens, masks, least, drug_targets)
    shares = share_label(perturbagens[positions], drug_targets)
    sizes = _count_pairs(shares)
    if not sizes["n_pairs"] or not sizes["n_random_pairs"]:
        kind = "that share a drug target" if not sizes["n_pairs"] else "that share none"
        reason = f"no pair of compounds {kind}, with {least} profiles or more of each left in every training"
        logger.info("nothing to compare: %s", reason)
        return pd.DataFrame([sizes | {"n_profiles": len(values), "reason": reason}], columns=PAIR_COLUMNS)
    logger.info("%d compounds, %d pairs that share a drug target, %d that share none", *sizes.values())
    x = load(obs.index.get_indexer(conditions.index))
    embeddings = _train(masks, conditions, x, len(perturbagens), settings, seed)
    found = _contrast_all(((key, embedding[positions]) for key, embedding in embeddings), masks, shares, settings, seed)
    table = [
        {"method": method, "quantile": quantile, "replicate": replicate}
        | {"steps": settings.schedule.n_steps(len(values))}
        | {"n_profiles": int(masks[method, quantile, 0 if replicate == ALL else replicate].sum())}  # the same in all
        | sizes
        | _row(numbers, change=found[method, 0.0, replicate], gain=found.get(("random", quantile, replicate)))
        for (method, quantile, replicate), numbers in found.items()
    ]
    return pd.DataFrame(table, columns=PAIR_COLUMNS)


def _contrast_all(embeddings, masks, shares, settings, seed):
    """What `contrast` gives for every method, quantile and replicate, and for the mean over replicates."""
    counts = draw_counts(len(shares), settings.n_draws, generator(seed, "bootstrap"))
    exchanges = draw_exchanges(len(shares), settings.n_draws, generator(seed, "permutation"))
    trained = {key: contrast(cosine_of_pairs(each), shares, counts, exchanges) for key, each in embeddings}
    found = {point: trained[point[2], mask.tobytes()] for point, mask in masks.items()}
    picks = _pick_replicates(settings.replicates, settings.n_draws, generator(seed, "replicates"))
    for method, quantile, _ in [point for point in masks if point[2] == 0]:
        found[method, quantile, ALL] = _mean([found[method, quantile, r] for r in range(settings.replicates)], picks)
    return found


def _count_pairs(shares):
    n, n_pairs = len(shares), int(shares.sum()) // 2
    return {"n_compounds": n, "n_pairs": n_pairs, "n_random_pairs": n * (n - 1) // 2 - n_pairs}


def _train(masks, conditions, x, n_perturbagens, settings, seed):
    """Yield ((replicate, bytes of the mask), embeddings of all perturbagens); equal trainings are done only once."""
    keys = list(dict.fromkeys((replicate, mask.tobytes()) for (*_, replicate), mask in masks.items()))
    given = torch.from_numpy(conditions.to_numpy()).to(x.device)
    shape = n_perturbagens, int(conditions["cell"].max()) + 1, x.shape[1], settings.embedding, settings.hidden
    schedule = settings.schedule.with_steps(settings.schedule.n_steps(len(conditions)))
    progress = Progress("drug targets, steps", schedule.steps * len(keys))
    for replicate, mask in keys:
        draw = derive_seed(seed, "training", replicate)
        model = make_perturbation_model(*shape, draw).to(x.device)
        rows = torch.from_numpy(np.flatnonzero(np.frombuffer(mask, bool)))
        training = Training(model, reconstruction_loss, schedule, draw)
        training.run((given, x), rows, before_step=lambda step, loss: progress.advance())
        yield (replicate, mask), model.perturbagen.weight.detach().cpu().numpy()


def _join(values, ids, methods):
    """The values of the profiles `ids`, in their order."""
    repeated = values.index[values.index.duplicated()]
    absent = ids.difference(values.index)
    for problem, names in (("two rows for", repeated), ("no row for", absent)):
        if len(names):
            raise InputError("values", "profile_id", f"{problem} {names[0]!r}", "value the compendium again")
    return values.loc[ids, methods]


def kept_by_method(
    values: pd.DataFrame, methods: list[str], quantiles: list[float], replicates: int, seed: int
) -> dict[tuple[str, float, int], np.ndarray]:
    """Which profiles each training takes: {(method, quantile, replicate): mask (n,)}."""
    masks = {}
    for replicate in range(replicates):
        drawn = generator(seed, "random", replicate).random(len(values))
        for method in methods:
            value = drawn if method == "random" else values[method].to_numpy()
            for quantile in quantiles if len(values) else ():
                masks[method, quantile, replicate] = keep_mask(value, "low", quantile)
    return masks


def _compared(perturbagen, perturbagens, masks, min_profiles, drug_targets):
    """Positions of the perturbagens to compare; see the head of this file."""
    enough = np.full(len(perturbagens), bool(masks))
    for mask in masks.values():
        enough &= np.bincount(perturbagen[mask], minlength=len(perturbagens)) >= min_profiles
    known = drug_targets[drug_targets["pert_id"].isin(perturbagens[enough])]
    shared = known["pert_id"][known.duplicated("target", keep=False)]
    return np.flatnonzero(enough & np.isin(perturbagens, shared))


def _pick_replicates(replicates, n_draws, rng):
    """Which replicates are averaged, (1 + n_draws, replicates): each once in the first row, random in the others."""
    return np.vstack([np.arange(replicates), rng.integers(replicates, size=(n_draws, replicates))])


def _mean(replicates, picks):
    """The mean of what `contrast` gave for every replicate; permutations are averaged over all of them."""
    stacked = {name: np.stack([found[name] for found in replicates], axis=1) for name in replicates[0]}
    exchanged = stacked.pop("exchanged").mean(axis=1)
    mean = {name: np.take_along_axis(found, picks, axis=1).mean(axis=1) for name, found in stacked.items()}
    return mean | {"exchanged": exchanged}


def _row(found, **rivals):
    row = {"cosine_same": found["same"][0], "cosine_random": found["random"][0], "p": p_value(found["exchanged"])}
    row |= describe("difference", found["difference"]) | describe("auroc", found["auroc"]) | {"reason": ""}
    for name, rival in rivals.items():
        if rival is not None:
            row |= describe(name, found["difference"] - rival["difference"])
    return row
