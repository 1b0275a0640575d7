"""Train the autoencoder on both targets and keep every step."""

from pathlib import Path

import pandas as pd

from dvgs.compendium.profiles import Profiles
from dvgs.compendium.splits import calibration_rows, target_rows
from dvgs.devices import pick_device
from dvgs.seeds import derive_seed
from dvgs.training.models import make_autoencoder, reconstruction_loss
from dvgs.valuation.trajectory import TrajectorySettings, record_trajectory
from dvgs.workflow.job import job


def main(input, output, target, model, trajectory, device, seed):
    split, device = pd.read_parquet(input.split), pick_device(device)
    profiles = Profiles(input.signatures, pd.read_parquet(input.scaling))
    pilot = profiles.tensor(calibration_rows(split), device)
    # Snakemake removes the outputs of a killed job, so both files get their names only when both are finished.
    paths = {draw: Path(path).with_name(f".{draw}.h5") for draw, path in output.items()}
    for draw, path in paths.items():
        x = profiles.tensor(target_rows(split, draw), device)
        draw_seed = derive_seed(seed, "trajectory", target, draw)
        settings = TrajectorySettings.from_config(draw_seed, **trajectory)
        network = make_autoencoder(x.shape[1], **model, seed=draw_seed).to(device)
        record_trajectory(path, network, reconstruction_loss, (x, x), settings, (pilot, pilot))
    for draw, path in paths.items():
        path.replace(output[draw])


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.target, **snakemake.params)
