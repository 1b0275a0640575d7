"""A small compendium with planted faults, in the file formats of LINCS 2020: for demos and tests.

Perturbagens of one target share a response of few programmes, which every cell line modulates. A replicate is
the response, scaled to the signature's strength r, plus noise of about unit sd:

    replicate = sqrt(r / (1 - r)) response + noise,     so that clean replicates correlate by about r

Strengths follow a logistic-normal whose level is set so that APC comes out as published for LINCS 2020 (median
about .065, 6 % above .5). Three faults are planted and written down: Gaussian noise on some replicates, whole
bad plates, and wells of one plate that were exchanged. The data are made up; only the formats are real.
"""

import re

import numpy as np
import pandas as pd
from scipy import special, stats

from dvgs.files import written_whole
from dvgs.gctx import write_gctx
from dvgs.modz import modz

CELLS = ("A375", "MCF7", "PC3", "HA1E", "VCAP", "HT29", "A549", "HCC515")
DOSES = (0.37, 1.11, 3.33, 10.0)  # uM
COMPOUNDS_PER_MAP, CELLS_PER_MAP, PLATES = 24, 2, 6
WELLS = [f"{row}{column:02d}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
CONTROL_WELL, FIRST_WELL = WELLS[2], 24  # row A is for the vehicle

SINGLE_SHARE = 0.44  # signatures with one replicate, as in LINCS 2020
REPLICATES, REPLICATE_SHARES = (2, 3, 4, 5, 6), (0.1, 0.1, 0.2, 0.3, 0.3)  # of the others

LANDMARKS, INFERRED = 978, 120
PROGRAMMES, MODULES, TARGETS = 12, 40, 30
STRENGTH_LOGIT, STRENGTH_SPREAD = -2.72, 2.1  # wider than APC: noise and faults pull it together
TECHNICAL, TECHNICAL_SHARE = 24, 0.3  # factors that correlate the noise of genes, their share of its variance
EXPERIMENT_SD, PLATE_SD = 0.15, 0.25  # what the wells of an experiment, of a plate have in common
ARTEFACT_SD = 1.0  # of each of the three patterns that lie over a bad plate

UNKNOWN_TARGET, WRONG_TARGET = 0.2, 0.1  # shares of the compounds in compoundinfo

GRAVE_SHARE = 0.25  # of the MODZ weight of a signature: from here on a fault of its replicates is the signature's
GRAVE_NOISE = 0.5  # sd in the signature, the same for noise


def simulate_release(
    level4,
    level5,
    siginfo,
    instinfo,
    geneinfo,
    compoundinfo,
    truth_signatures,
    truth_profiles,
    *,
    n_signatures=2000,
    noisy_share=0.2,
    noise_sd=3.0,
    n_bad_plates=2,
    swapped_share=0.03,
    seed=1,
):
    """Write a release of `n_signatures` compound signatures, and some of controls and shRNAs, with its truth.

    level4 ... truth_profiles: the paths to write: two GCTX files (978 landmark and 120 inferred genes), the four
    LINCS 2020 tables and two tables of truth. noisy_share: share of the replicates that get Gaussian noise,
    each of its own sd ~ U[0, noise_sd] on every landmark gene. n_bad_plates: plates, at most all, whose
    wells are scrambled under an artefact. swapped_share: share of the replicates that trade places with another
    of their plate, bad plates left out.
    The same arguments write the same bytes; other faults under the same seed leave the biology as it is.

    truth_signatures, one row per signature: `sig_id`; `noise_sd`, the sd that planted noise leaves in the
    signature, sqrt(sum w_i^2 sd_i^2) over its MODZ weights w_i; `n_replicates`, `n_noisy`, `n_bad_plate`,
    `n_swapped`; `fault`, the first that applies of "bad_plate" and "swapped" (a quarter or more of the MODZ weight
    lies on such replicates), "noise" (noise_sd > 0.5) and "none"; `strength`, r above, 0 for controls.
    truth_profiles, one row per replicate: `sample_id`, `noise_sd`, `bad_plate` (0/1), `swapped_with` ("" if none).
    """
    streams = np.random.SeedSequence(seed).spawn(6)
    layout_rng, biology_rng, noise_rng, fault_rng, order_rng, annotation_rng = map(np.random.default_rng, streams)

    signatures = _lay_out(n_signatures)
    replicates = _draw_replicates(signatures, layout_rng)
    signatures["qc_pass"] = np.where(layout_rng.random(len(signatures)) < 0.03, 0, 1)
    genes, inference = _draw_genes(layout_rng)

    signatures["strength"] = _draw_strengths(signatures, biology_rng)
    responses = _draw_responses(signatures, biology_rng)
    profiles = responses[replicates["signature"]] + _draw_noise(signatures, replicates, noise_rng)
    profiles, faults = _plant_faults(
        profiles, replicates, noisy_share, noise_sd, n_bad_plates, swapped_share, fault_rng
    )
    # As in L1000, the other genes are no measurements but sums over landmarks, faults and all.
    profiles = np.hstack([profiles, profiles @ inference]).astype(np.float32)

    collapsed, weights, quality = _collapse(profiles, replicates, len(signatures))
    signatures = signatures.join(quality).join(_replicate_columns(signatures, replicates, layout_rng))

    gene_order = order_rng.permutation(len(genes))
    for path, matrix, ids in (
        (level4, profiles, replicates["sample_id"]),
        (level5, collapsed, signatures["sig_id"]),
    ):
        order = order_rng.permutation(len(ids))  # nothing may rely on files and tables having one order
        ids, gene_ids = ids.to_numpy()[order], genes["gene_id"].to_numpy()[gene_order]
        write_gctx(path, matrix[np.ix_(order, gene_order)], ids, gene_ids)
    _write_table(siginfo, _siginfo(signatures))
    _write_table(instinfo, _instinfo(signatures, replicates))
    _write_table(geneinfo, genes.sort_values("gene_id"))
    _write_table(compoundinfo, _compoundinfo(signatures, annotation_rng))
    _write_table(truth_signatures, _signature_truth(signatures, replicates, faults, weights))
    _write_table(truth_profiles, pd.concat([replicates["sample_id"], faults], axis=1))


# Design: what is on which plate


def _lay_out(n_signatures):
    """Signatures: compounds in doses on plate maps, every map in some cell lines; then controls and shRNAs."""
    rows = [_compound_signature(i) for i in range(n_signatures)]
    experiments = {row["experiment"]: row for row in rows}
    rows += [_control_signature(row) for row in experiments.values()]
    first = 1 + max(row["perturbagen"] for row in rows)
    n_shrnas = min(max(4, n_signatures // 50), len(WELLS) - FIRST_WELL)
    rows += [_shrna_signature(i, first + i) for i in range(n_shrnas)]
    return pd.DataFrame(rows)


def _compound_signature(index):
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


def _control_signature(row):
    control = {"sig_id": f"{row['experiment']}:DMSO:-666", "pert_id": "DMSO", "cmap_name": "DMSO"}
    control |= {"pert_type": "ctl_vehicle", "pert_dose": np.nan, "well": CONTROL_WELL, "perturbagen": -1}
    return row | control | {"target": -1}


def _shrna_signature(index, perturbagen):
    pert_id, target = f"TRCN{index + 1:010d}", index % TARGETS
    row = {
        "sig_id": f"DEMO.KD001_PC3_96H:{pert_id}",
        "pert_id": pert_id,
        "cmap_name": f"target{target + 1:02d}",
    }
    row |= {"pert_type": "trt_sh", "cell_iname": "PC3", "pert_time": 96, "pert_dose": np.nan}
    row |= {"experiment": "DEMO.KD001_PC3_96H", "bead_batch": "b90", "perturbagen": perturbagen}
    return row | {"well": WELLS[FIRST_WELL + index], "target": target}


def _draw_replicates(signatures, rng):
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


def _draw_genes(rng):
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


# Biology and noise


def _draw_strengths(signatures, rng):
    """Expected correlation r of clean replicates, (signatures,): potency, dose, cell line and what is left.

    Only the ranks come from those; the distribution itself is exact, for every seed and size.
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


def _draw_responses(signatures, rng):
    """What the perturbagens do, (signatures, landmarks), in units of the noise."""
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


def _draw_programmes(rng):
    """(programmes, landmarks): a programme moves some modules of genes that are regulated together."""
    module = rng.integers(MODULES, size=LANDMARKS)
    moved = rng.normal(size=(PROGRAMMES, MODULES)) * (rng.random((PROGRAMMES, MODULES)) < 0.3)
    programmes = moved[:, module] * rng.lognormal(0, 0.5, LANDMARKS)
    return _standardised(programmes + rng.normal(0, 0.15, programmes.shape))


def _standardised(rows):
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / rows.std(axis=1, keepdims=True)


def _draw_noise(signatures, replicates, rng):
    """(replicates, landmarks), sd about 1: of every gene alone, of technical factors, of plate and experiment."""
    factors = _standardised(rng.normal(size=(TECHNICAL, LANDMARKS))) / np.sqrt(TECHNICAL)
    plate = replicates["det_plate"].factorize()[0]
    experiment = signatures["experiment"].factorize()[0][replicates["signature"]]
    loads = np.sqrt(TECHNICAL_SHARE) * rng.normal(size=(len(replicates), TECHNICAL))
    loads += PLATE_SD * rng.normal(size=(plate.max() + 1, TECHNICAL))[plate]
    loads += EXPERIMENT_SD * rng.normal(size=(experiment.max() + 1, TECHNICAL))[experiment]
    alone = np.sqrt(1 - TECHNICAL_SHARE) * rng.normal(size=(len(replicates), LANDMARKS))
    return alone + loads @ factors


# Faults


def _plant_faults(profiles, replicates, noisy_share, noise_sd, n_bad_plates, swapped_share, rng):
    """The faulty profiles, and a table `noise_sd, bad_plate, swapped_with` of what was done to each.

    Wells move first; noise is then added to what lies in a well, so noise_sd is that of the named sample.
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


def _draw_pairs(plate, eligible, n_pairs, rng):
    """(n, 2) positions of replicates of one plate, each at most once."""
    shuffled = rng.permutation(np.flatnonzero(eligible))
    pairs = [
        pair
        for _, wells in pd.Series(shuffled).groupby(plate[shuffled])
        for pair in zip(wells[::2], wells[1::2], strict=False)
    ]
    drawn = rng.choice(len(pairs), min(n_pairs, len(pairs)), replace=False)
    return np.array(pairs, int).reshape(-1, 2)[drawn]


def _draw_artefact(replicates, rng):
    """(replicates, landmarks): on every plate an offset and two drifts of its own, along rows and columns."""
    artefact = np.empty((len(replicates), LANDMARKS))
    well = replicates["det_well"].map(WELLS.index).to_numpy()
    drift = np.column_stack([np.ones(len(well)), well // 24 / 8 - 1, well % 24 / 12 - 1])
    plate = replicates["det_plate"].to_numpy()
    for name in np.unique(plate):
        patterns = rng.normal(0, ARTEFACT_SD, (3, LANDMARKS))
        artefact[plate == name] = drift[plate == name] @ patterns
    return artefact


# Level 5 and the tables


def _collapse(profiles, replicates, n_signatures):
    """Level 5 (signatures, genes), the MODZ weight of every replicate, and a table `cc_q75, tas`."""
    collapsed = np.empty((n_signatures, profiles.shape[1]))
    weights, quality = [], []
    starts = np.searchsorted(replicates["signature"], np.arange(1, n_signatures))
    for i, own in enumerate(np.split(profiles, starts)):
        collapsed[i], weight = modz(own, slice(LANDMARKS))
        weights.append(weight)
        quality.append(_quality(own[:, :LANDMARKS], collapsed[i, :LANDMARKS]))
    return collapsed, np.concatenate(weights), pd.DataFrame(quality, columns=["cc_q75", "tas"])


def _quality(replicates, signature):
    """Agreement of the replicates (75th percentile of their Spearman correlations) and activity score (TAS).

    CMap writes 0 for both where there is one replicate.
    """
    n = len(replicates)
    if n == 1:
        return 0.0, 0.0
    correlation = np.corrcoef(stats.rankdata(replicates, axis=1))
    cc_q75 = np.quantile(correlation[np.triu_indices(n, 1)], 0.75)
    n_changed = (np.abs(signature) * np.sqrt(n) >= 2).sum()
    return cc_q75, np.sqrt(n_changed * max(cc_q75, 0) / LANDMARKS)


def _replicate_columns(signatures, replicates, rng):
    """`nsample, det_plates, distil_ids` of every signature, `|` between; a few name a profile that is not there."""
    groups = replicates.groupby("signature")
    columns = pd.DataFrame(
        {
            "nsample": groups.size(),
            "det_plates": groups["det_plate"].agg("|".join),
            "distil_ids": groups["sample_id"].agg("|".join),
        }
    )
    open_to_more = np.flatnonzero(columns["nsample"] < PLATES)
    for i in rng.choice(open_to_more, min(len(open_to_more), 2 + len(signatures) // 500), replace=False):
        sample_id = columns.at[i, "distil_ids"].split("|")[0]
        columns.at[i, "distil_ids"] += "|" + re.sub(r"_X\d_", f"_X{PLATES + 1}_", sample_id)
    return columns


def _perturbation(signatures):
    """The columns that siginfo and instinfo share, missing values as CMap writes them."""
    known = signatures["pert_dose"].notna()
    dose = signatures["pert_dose"].astype(str).where(known, "-666")
    time = signatures["pert_time"].astype(str)
    return pd.DataFrame(
        {
            "pert_id": signatures["pert_id"],
            "cmap_name": signatures["cmap_name"],
            "bead_batch": signatures["bead_batch"],
            "pert_dose": dose,
            "pert_dose_unit": np.where(known, "uM", "-666"),
            "pert_idose": (signatures["pert_dose"].map("{:g}".format) + " uM").where(known, "-666"),
            "pert_time": time,
            "pert_time_unit": "h",
            "pert_itime": time + " h",
            "pert_type": signatures["pert_type"],
            "cell_iname": signatures["cell_iname"],
            "qc_pass": signatures["qc_pass"],
        }
    )


def _siginfo(signatures):
    measured = signatures[["nsample", "cc_q75", "tas", "det_plates", "distil_ids"]]
    return pd.concat([signatures["sig_id"], _perturbation(signatures), measured], axis=1)


def _instinfo(signatures, replicates):
    perturbation = _perturbation(signatures).iloc[replicates["signature"]].reset_index(drop=True)
    return pd.concat([replicates[["sample_id", "det_plate", "det_well"]], perturbation], axis=1)


def _compoundinfo(signatures, rng):
    """One row per compound and target, in no order; some compounds have no target, some a second one that is wrong."""
    compounds = signatures[signatures["pert_type"] == "trt_cp"].drop_duplicates("pert_id")
    draw = rng.random(len(compounds))
    table = compounds[["pert_id", "cmap_name"]].assign(target=compounds["target"].where(draw >= UNKNOWN_TARGET))
    wrong = (compounds["target"] + rng.integers(1, TARGETS, len(compounds))) % TARGETS
    table = pd.concat([table, table.assign(target=wrong)[draw >= 1 - WRONG_TARGET]])
    number = table["target"] + 1  # as in cmap_name
    names = number.map("TARGET{:02.0f}".format, na_action="ignore")
    moas = number.map("target {:.0f} inhibitor".format, na_action="ignore")
    return table.assign(target=names, moa=moas).sample(frac=1, random_state=rng)


def _signature_truth(signatures, replicates, faults, weights):
    def total(values):
        return np.bincount(replicates["signature"], values, minlength=len(signatures))

    bad, swapped = faults["bad_plate"].to_numpy(), (faults["swapped_with"] != "").to_numpy()
    noise_sd = np.sqrt(total(np.square(weights * faults["noise_sd"])))
    conditions = [
        total(weights * bad) >= GRAVE_SHARE,
        total(weights * swapped) >= GRAVE_SHARE,
        noise_sd > GRAVE_NOISE,
    ]
    return pd.DataFrame(
        {
            "sig_id": signatures["sig_id"],
            "noise_sd": noise_sd,
            "n_replicates": signatures["nsample"],
            "n_noisy": total(faults["noise_sd"] > 0).astype(int),
            "n_bad_plate": total(bad).astype(int),
            "n_swapped": total(swapped).astype(int),
            "fault": np.select(conditions, ["bad_plate", "swapped", "noise"], default="none"),
            "strength": signatures["strength"],
        }
    )


def _write_table(path, frame):
    with written_whole(path) as partial:
        frame.to_csv(partial, sep="\t", index=False, float_format="%.6g", lineterminator="\n")
