"""Lay the latent spaces of all targets out in two dimensions (UMAP) and write the cleaned compendia."""

import shutil

import anndata as ad
import h5py

from dvgs.filtering.umap import lay_out
from dvgs.io.files import written_whole
from dvgs.seeds import derive_seed, generator
from dvgs.workflow.job import job


def main(input, output, targets, seed):
    for target, latent, path in zip(targets, input.latents, output.cleaned, strict=True):
        with written_whole(path) as partial:
            shutil.copyfile(latent, partial)
            with h5py.File(partial, "r+") as file:
                drawn = generator(seed, "umap", target, "drawn")
                umap = lay_out(file["obsm/X_latent"][:], drawn, derive_seed(seed, "umap", target) % 2**32, target)
                ad.io.write_elem(file["obsm"], "X_umap", umap)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, **snakemake.params)
