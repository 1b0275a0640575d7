"""What perturbagens do to cells, how strongly, and the noise of measuring it."""

import numpy as np
import pandas as pd
from scipy import special, stats

from dvgs.simulation.design import CELLS, LANDMARKS, TARGETS

PROGRAMMES, MODULES = 12, 40
STRENGTH_LOGIT, STRENGTH_SPREAD = -2.72, 2.1  # wider than APC, because noise and faults narrow the APC
TECHNICAL, TECHNICAL_SHARE = 24, 0.3  # factors that correlate the noise of genes; their share of its variance
EXPERIMENT_SD, PLATE_SD = 0.15, 0.25  # of the noise that the wells of an experiment, or of a plate, share


def draw_strengths(signatures: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Expected correlation r of clean replicates, (signatures,).

    Its ranks come from potency, dose, cell line and noise; its distribution is exact, for every seed and size.
    """
    treated = (signatures["pert_type"] != "ctl_vehicle").to_numpy()
    frame = signatures[treated]
    pairs = frame.groupby(["perturbagen", "cell_iname"], sort=False).ngroup().to_numpy()
    score = rng.normal(0, 1.1, frame["perturbagen"].max() + 1)[frame["perturbagen"]]
    score += rng.normal(0, 0.9, len(frame))[pairs]
    score += rng.normal(0, 0.35, len(CELLS))[[CELLS.index(c) for c in frame["cell_iname"]]]
    score += 0.3 * np.log10(frame["pert_dose"].fillna(1.0).to_numpy()) / np.log10(3)
    score += rng.normal(0, 0.7, len(frame))
    quantile = (stats.rankdata(score) - 0.5) / len(score)
    strength = np.zeros(len(signatures))
    strength[treated] = special.expit(STRENGTH_LOGIT + STRENGTH_SPREAD * stats.norm.ppf(quantile))
    return strength


def draw_responses(signatures: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Responses to the perturbagens, (signatures, landmarks), in units of the noise."""
    programmes = _draw_programmes(rng)
    mechanisms = rng.normal(size=(TARGETS, PROGRAMMES)) * (rng.random((TARGETS, PROGRAMMES)) < 0.3)
    mechanisms[:, 0] += 0.7  # the stress response, common to all
    own = rng.normal(0, 0.25, (signatures["perturbagen"].max() + 1, PROGRAMMES))
    in_cell = rng.lognormal(0, 0.25, (len(CELLS), PROGRAMMES))
    expressed = rng.lognormal(0, 0.3, (len(CELLS), LANDMARKS))

    cell = np.array([CELLS.index(c) for c in signatures["cell_iname"]])
    target, perturbagen = signatures["target"].to_numpy(), signatures["perturbagen"].to_numpy()
    mix = (mechanisms[target] + own[perturbagen]) * in_cell[cell]
    response = _standardised(mix @ programmes * expressed[cell])
    r = signatures["strength"].to_numpy()[:, None]
    return np.sqrt(r / (1 - r)) * response


def _draw_programmes(rng: np.random.Generator) -> np.ndarray:
    """(programmes, landmarks): a programme moves some modules of genes that are regulated together."""
    module = rng.integers(MODULES, size=LANDMARKS)
    moved = rng.normal(size=(PROGRAMMES, MODULES)) * (rng.random((PROGRAMMES, MODULES)) < 0.3)
    programmes = moved[:, module] * rng.lognormal(0, 0.5, LANDMARKS)
    return _standardised(programmes + rng.normal(0, 0.15, programmes.shape))


def _standardised(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / rows.std(axis=1, keepdims=True)


def draw_noise(signatures: pd.DataFrame, replicates: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Noise (replicates, landmarks), sd about 1: of single genes, technical factors, plates and experiments."""
    factors = _standardised(rng.normal(size=(TECHNICAL, LANDMARKS))) / np.sqrt(TECHNICAL)
    plate = replicates["det_plate"].factorize()[0]
    experiment = signatures["experiment"].factorize()[0][replicates["signature"]]
    loads = np.sqrt(TECHNICAL_SHARE) * rng.normal(size=(len(replicates), TECHNICAL))
    loads += PLATE_SD * rng.normal(size=(plate.max() + 1, TECHNICAL))[plate]
    loads += EXPERIMENT_SD * rng.normal(size=(experiment.max() + 1, TECHNICAL))[experiment]
    alone = np.sqrt(1 - TECHNICAL_SHARE) * rng.normal(size=(len(replicates), LANDMARKS))
    return alone + loads @ factors
