"""What the page is made from."""

import h5py
import pandas as pd

from dvgs.io.h5ad import read_obs

PACKAGES = ("anndata", "cmapPy", "h5py", "numpy", "pandas", "scanpy", "scipy", "snakemake", "torch")


def read_umap(path, similarity):
    """UMAP coordinates, value and cell line of the profiles of a cleaned .h5ad: DataFrame `x, y, value, cell_iname`.

    Of a large compendium only a sample has coordinates (`embed`); the others are left out.
    """
    obs = read_obs(path)
    with h5py.File(path, "r") as file:
        x, y = file["obsm/X_umap"][:].T
    cell = obs["cell_iname"].astype(str)
    found = pd.DataFrame({"x": x, "y": y, "value": obs[similarity].to_numpy(), "cell_iname": cell})
    return found[found["x"].notna()].reset_index(drop=True)


def read_apc(input):
    """The table of apc.parquet, with what siginfo says of agreement and of what APC may go with."""
    apc, obs = pd.read_parquet(input.apc), read_obs(input.signatures)
    beside = obs.columns.intersection(["cc_q75", "cell_iname", "pert_dose", "pert_dose_unit", "pert_time"])
    return apc.assign(**{name: obs[name].to_numpy() for name in beside})
