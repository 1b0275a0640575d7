"""Plants the faults: noise, bad plates and exchanged wells."""

import numpy as np
import pandas as pd

from dvgs.simulation.design import LANDMARKS, WELLS

ARTEFACT_SD = 1.0  # of each of the three patterns that are added to a bad plate


def plant_faults(
    profiles: np.ndarray,
    replicates: pd.DataFrame,
    noisy_share: float,
    noise_sd: float,
    n_bad_plates: int,
    swapped_share: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, pd.DataFrame]:
    """The faulty profiles, and a table `noise_sd, bad_plate, swapped_with` of what was done to each.

    Wells are exchanged first. Noise is added to a well after that, so noise_sd belongs to the sample that its id names.
    """
    n = len(replicates)
    plate = replicates["det_plate"].to_numpy()
    plates = np.unique(plate)
    bad = np.isin(plate, rng.choice(plates, min(n_bad_plates, len(plates)), replace=False))
    origin = np.arange(n)
    for name in np.unique(plate[bad]):
        wells = np.flatnonzero(plate == name)
        origin[wells] = rng.permutation(wells)
    pairs = _draw_pairs(plate, ~bad, round(swapped_share * n / 2), rng)
    origin[pairs] = pairs[:, ::-1]

    profiles = profiles[origin]
    profiles[bad] += _draw_artefact(replicates[bad], rng)
    sd = np.zeros(n)
    noisy = rng.choice(n, round(noisy_share * n), replace=False)
    sd[noisy] = rng.uniform(0, noise_sd, len(noisy))
    profiles += sd[:, None] * rng.normal(size=profiles.shape)

    partner = np.full(n, "", dtype=object)
    partner[pairs] = replicates["sample_id"].to_numpy()[pairs[:, ::-1]]
    return profiles, pd.DataFrame({"noise_sd": sd, "bad_plate": bad.astype(int), "swapped_with": partner})


def _draw_pairs(plate: np.ndarray, eligible: np.ndarray, n_pairs: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) positions of replicates, both of the same plate; each replicate is in one pair at most."""
    shuffled = rng.permutation(np.flatnonzero(eligible))
    pairs = [
        pair
        for _, wells in pd.Series(shuffled).groupby(plate[shuffled])
        for pair in zip(wells[::2], wells[1::2], strict=False)
    ]
    drawn = rng.choice(len(pairs), min(n_pairs, len(pairs)), replace=False)
    return np.array(pairs, int).reshape(-1, 2)[drawn]


def _draw_artefact(replicates: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """(replicates, landmarks): on every plate an offset and two drifts of its own, along rows and columns."""
    artefact = np.empty((len(replicates), LANDMARKS))
    well = replicates["det_well"].map(WELLS.index).to_numpy()
    drift = np.column_stack([np.ones(len(well)), well // 24 / 8 - 1, well % 24 / 12 - 1])
    plate = replicates["det_plate"].to_numpy()
    for name in np.unique(plate):
        patterns = rng.normal(0, ARTEFACT_SD, (3, LANDMARKS))
        artefact[plate == name] = drift[plate == name] @ patterns
    return artefact
