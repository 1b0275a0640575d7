"""What the page is made from: the tables that the rules wrote, read once."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import h5py
import pandas as pd

from dvgs.io.files import read_json
from dvgs.io.h5ad import read_obs

PACKAGES = ("anndata", "cmapPy", "h5py", "numpy", "pandas", "scanpy", "scipy", "snakemake", "torch")


@dataclass(frozen=True)
class TargetResults:
    """The results of one target.

    The tables have the columns of their result files: values.parquet, convergence.csv, curves.csv, correlations.csv,
    truth.csv, drug_targets.csv. decision: the dict of cleaning.json. umap: DataFrame `x, y, value, cell_iname`.
    truth is None where no faults were planted, drug_targets where no drug targets are known.
    """

    name: str
    values: pd.DataFrame
    convergence: pd.DataFrame
    curves: pd.DataFrame
    correlations: pd.DataFrame
    decision: dict[str, Any]
    umap: pd.DataFrame
    truth: pd.DataFrame | None = None
    drug_targets: pd.DataFrame | None = None


@dataclass(frozen=True)
class Results:
    """The results of a run.

    config: that of the run. versions: of Python and of PACKAGES. n_input: profiles in the input. ledger: the profiles
    that were left out. replicate_ledger: the replicates that could not be used. apc: the table of apc.parquet, a row
    per profile used, with columns of siginfo beside it (read_apc). targets: in the order of the page.
    """

    config: dict[str, Any]
    versions: dict[str, str]
    n_input: int
    ledger: pd.DataFrame
    replicate_ledger: pd.DataFrame
    apc: pd.DataFrame
    targets: list[TargetResults]

    @property
    def compendium(self) -> str:
        """Its name."""
        return self.config["compendium"]

    @property
    def similarity(self) -> str:
        """The column of values that profiles are ranked by."""
        return self.config["score"]["similarity"]


def read_results(
    input: Any, config: dict[str, Any], n_input: int, ledger: pd.DataFrame, replicate_ledger: pd.DataFrame
) -> Results:
    """The results in the files of `input`, the input of the rule write_report, one file a target where it has a list.

    n_input, ledger, replicate_ledger: as in Results.
    """
    similarity = config["score"]["similarity"]
    return Results(
        config=config,
        versions={"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        n_input=n_input,
        ledger=ledger,
        replicate_ledger=replicate_ledger,
        apc=read_apc(input.apc, input.signatures),
        targets=[_read_target(input, k, name, similarity) for k, name in enumerate(config["targets"])],
    )


def _read_target(input: Any, k: int, name: str, similarity: str) -> TargetResults:
    return TargetResults(
        name=name,
        values=pd.read_parquet(input.values[k]),
        convergence=pd.read_csv(input.convergence[k]),
        curves=pd.read_csv(input.curves[k]),
        correlations=pd.read_csv(input.correlations[k]),
        decision=read_json(input.decisions[k]),
        umap=read_umap(input.cleaned[k], similarity),
        truth=pd.read_csv(input.truth[k]) if input.truth else None,
        drug_targets=pd.read_csv(input.drug_targets[k]) if input.drug_targets else None,
    )


def read_umap(path: str, similarity: str) -> pd.DataFrame:
    """UMAP coordinates, value and cell line of the profiles of a cleaned .h5ad: DataFrame `x, y, value, cell_iname`.

    Of a large compendium only a sample has coordinates (`lay_out`); the others are left out.
    """
    obs = read_obs(path)
    with h5py.File(path, "r") as file:
        x, y = file["obsm/X_umap"][:].T
    cell = obs["cell_iname"].astype(str)
    found = pd.DataFrame({"x": x, "y": y, "value": obs[similarity].to_numpy(), "cell_iname": cell})
    return found[found["x"].notna()].reset_index(drop=True)


def read_apc(path: str, signatures: str) -> pd.DataFrame:
    """The table of apc.parquet, with what siginfo says of agreement and of what APC may go with.

    signatures: an .h5ad whose profiles are the rows of the table.
    """
    apc, obs = pd.read_parquet(path), read_obs(signatures)
    beside = obs.columns.intersection(["cc_q75", "cell_iname", "pert_dose", "pert_dose_unit", "pert_time"])
    return apc.assign(**{name: obs[name].to_numpy() for name in beside})
