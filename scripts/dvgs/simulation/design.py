"""The design: signatures, the plates and wells of their replicates, and the genes."""

from typing import Any

import numpy as np
import pandas as pd

CELLS = ("A375", "MCF7", "PC3", "HA1E", "VCAP", "HT29", "A549", "HCC515")
DOSES = (0.37, 1.11, 3.33, 10.0)  # uM
COMPOUNDS_PER_MAP, CELLS_PER_MAP, PLATES = 24, 2, 6
WELLS = [f"{row}{column:02d}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
CONTROL_WELL, FIRST_WELL = WELLS[2], 24  # row A is for the vehicle

SINGLE_SHARE = 0.44  # signatures with one replicate, as in LINCS 2020
REPLICATES, REPLICATE_SHARES = (2, 3, 4, 5, 6), (0.1, 0.1, 0.2, 0.3, 0.3)  # of the others

LANDMARKS, INFERRED, TARGETS = 978, 120, 30


def lay_out(n_signatures: int) -> pd.DataFrame:
    """Signatures: compounds in doses on plate maps, every map in some cell lines; then controls and shRNAs."""
    rows = [_compound_signature(i) for i in range(n_signatures)]
    experiments = {row["experiment"]: row for row in rows}
    rows += [_control_signature(row) for row in experiments.values()]
    first = 1 + max(row["perturbagen"] for row in rows)
    n_shrnas = min(max(4, n_signatures // 50), len(WELLS) - FIRST_WELL)
    rows += [_shrna_signature(i, first + i) for i in range(n_shrnas)]
    return pd.DataFrame(rows)


def _compound_signature(index: int) -> dict[str, Any]:
    experiment, slot = divmod(index, COMPOUNDS_PER_MAP * len(DOSES))
    plate_map = experiment // CELLS_PER_MAP
    compound = plate_map * COMPOUNDS_PER_MAP + slot // len(DOSES)
    cell, time, dose = CELLS[experiment % len(CELLS)], (24, 6)[plate_map % 2], DOSES[slot % len(DOSES)]
    name, pert_id = f"DEMO{plate_map + 1:03d}_{cell}_{time}H", f"BRD-K{compound + 1:08d}"
    return {
        "sig_id": f"{name}:{pert_id}:{dose}",
        "pert_id": pert_id,
        "cmap_name": f"target{compound % TARGETS + 1:02d}-inhibitor-{compound // TARGETS + 1}",
        "pert_type": "trt_cp",
        "cell_iname": cell,
        "pert_time": time,
        "pert_dose": dose,
        "experiment": name,
        "bead_batch": f"b{plate_map + 1}",
        "well": WELLS[FIRST_WELL + slot],
        "perturbagen": compound,
        "target": compound % TARGETS,
    }


def _control_signature(row: dict[str, Any]) -> dict[str, Any]:
    return row | {
        "sig_id": f"{row['experiment']}:DMSO:-666",
        "pert_id": "DMSO",
        "cmap_name": "DMSO",
        "pert_type": "ctl_vehicle",
        "pert_dose": np.nan,
        "well": CONTROL_WELL,
        "perturbagen": -1,
        "target": -1,
    }


def _shrna_signature(index: int, perturbagen: int) -> dict[str, Any]:
    pert_id, target = f"TRCN{index + 1:010d}", index % TARGETS
    return {
        "sig_id": f"DEMO.KD001_PC3_96H:{pert_id}",
        "pert_id": pert_id,
        "cmap_name": f"target{target + 1:02d}",
        "pert_type": "trt_sh",
        "cell_iname": "PC3",
        "pert_time": 96,
        "pert_dose": np.nan,
        "experiment": "DEMO.KD001_PC3_96H",
        "bead_batch": "b90",
        "perturbagen": perturbagen,
        "well": WELLS[FIRST_WELL + index],
        "target": target,
    }


def draw_replicates(signatures: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """One row per replicate, grouped by signature: `signature` (position), `det_plate, det_well, sample_id`."""
    treated = (signatures["pert_type"] != "ctl_vehicle").to_numpy()
    n_single = round(SINGLE_SHARE * treated.sum())
    several = rng.choice(REPLICATES, treated.sum() - n_single, p=REPLICATE_SHARES)
    counts = np.full(len(signatures), PLATES)
    counts[treated] = rng.permutation(np.concatenate([np.ones(n_single, int), several]))
    plates = np.concatenate([np.sort(rng.choice(PLATES, n, replace=False)) for n in counts])

    position = np.repeat(np.arange(len(signatures)), counts)
    of = signatures.iloc[position]
    replicates = pd.DataFrame({"signature": position})
    replicates["det_plate"] = [
        f"{experiment}_X{plate + 1}_{batch.upper()}"
        for experiment, plate, batch in zip(of["experiment"], plates, of["bead_batch"], strict=True)
    ]
    replicates["det_well"] = of["well"].to_numpy()
    replicates["sample_id"] = replicates["det_plate"] + ":" + replicates["det_well"]
    return replicates


def draw_genes(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """The gene table, landmarks first, and the weights (landmarks x inferred) that infer the other genes."""
    n = LANDMARKS + INFERRED
    ids = rng.choice(np.arange(2, 60_000), n, replace=False)
    number = rng.permutation(n) + 1
    space = np.repeat(["landmark", "best inferred", "inferred"], [LANDMARKS, INFERRED - 20, 20])
    genes = pd.DataFrame(
        {
            "gene_id": ids,
            "gene_symbol": [f"DEMO{i}" for i in number],
            "ensembl_id": [f"ENSG{i:011d}" for i in number],
            "gene_title": [f"demo gene {i}" for i in number],
            "gene_type": "protein-coding",
            "src": "simulated",
            "feature_space": space,
        }
    )
    sources = 20
    inference = np.zeros((LANDMARKS, INFERRED))
    for column in inference.T:
        column[rng.choice(LANDMARKS, sources, replace=False)] = rng.normal(0, sources**-0.5, sources)
    return genes, inference
