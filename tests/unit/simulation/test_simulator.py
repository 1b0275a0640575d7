"""The simulated release: its formats hold together, its numbers are as published, its truth is true."""

import numpy as np
import pandas as pd
import pytest

from dvgs.evaluation.drug_targets import read_drug_targets
from dvgs.io.gctx import GctxFile
from dvgs.io.tables import explode_replicates, read_geneinfo, read_siginfo
from dvgs.replicates.apc import compute_apc
from dvgs.replicates.modz import modz
from dvgs.simulation.design import LANDMARKS
from dvgs.simulation.simulator import simulate_release

NAMES = {
    "level4": "level4.gctx",
    "level5": "level5.gctx",
    "siginfo": "siginfo_beta.txt",
    "instinfo": "instinfo_beta.txt",
    "geneinfo": "geneinfo_beta.txt",
    "compoundinfo": "compoundinfo_beta.txt",
    "truth_signatures": "truth_signatures.tsv",
    "truth_profiles": "truth_profiles.tsv",
}


def write_release(folder, **options):
    paths = {name: folder / file for name, file in NAMES.items()}
    simulate_release(**paths, **options)
    return paths


def read_matrix(path, gene_ids=None):
    with GctxFile(path) as file:
        values = np.concatenate([block for _, block in file.blocks(np.arange(file.shape[1]))])
        matrix = pd.DataFrame(values, index=file.profile_ids, columns=file.gene_ids)
    return matrix if gene_ids is None else matrix[gene_ids]


def landmarks_of(paths):
    geneinfo = read_geneinfo(paths["geneinfo"])
    return geneinfo.index[geneinfo["feature_space"] == "landmark"]


def measure_apc(paths):
    """APC of the compound signatures, NaN where there is one replicate."""
    siginfo = read_siginfo(paths["siginfo"])
    with GctxFile(paths["level4"]) as file:
        genes = pd.Index(file.gene_ids).get_indexer(landmarks_of(paths))
        members = explode_replicates(siginfo["distil_ids"])
        apc, _ = compute_apc(file, genes, members, siginfo, 1, np.random.default_rng(0), paths["level4"].parent)
    return apc.set_index("sig_id")["apc"][siginfo["pert_type"] == "trt_cp"]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("release"), n_signatures=300)


@pytest.fixture(scope="module")
def faultless(tmp_path_factory):
    """The same biology and noise with no fault planted: what the faults are measured against."""
    folder = tmp_path_factory.mktemp("faultless")
    return write_release(folder, n_signatures=300, noisy_share=0, n_bad_plates=0, swapped_share=0)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The release at its default size, for what only shows in many signatures."""
    return write_release(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def truth(release):
    tables = [pd.read_csv(release[name], sep="\t") for name in ("truth_signatures", "truth_profiles")]
    return tables[0].set_index("sig_id"), tables[1].set_index("sample_id")


class TestFormats:
    def test_ids_agree_between_files_and_tables_but_not_their_order(self, release):
        siginfo, geneinfo = read_siginfo(release["siginfo"]), read_geneinfo(release["geneinfo"])
        samples = pd.read_csv(release["instinfo"], sep="\t")["sample_id"]
        for name, ids in (("level4", samples), ("level5", siginfo.index)):
            with GctxFile(release[name]) as file:
                assert set(file.profile_ids) == set(ids)
                assert list(file.profile_ids) != list(ids)
                assert set(file.gene_ids) == set(geneinfo.index)
                assert list(file.gene_ids) != list(geneinfo.index)

    @pytest.mark.filterwarnings("ignore:errors='ignore':FutureWarning")  # cmapPy's own, on pandas 2.2 and later
    def test_cmappy_opens_both_matrices(self, release):
        parse = pytest.importorskip("cmapPy.pandasGEXpress.parse").parse
        for name in ("level4", "level5"):
            ours, theirs = read_matrix(release[name]), parse(str(release[name])).data_df
            np.testing.assert_array_equal(theirs.loc[ours.columns, ours.index].to_numpy().T, ours)

    def test_landmarks_are_scattered_among_inferred_genes(self, release):
        feature_space = read_geneinfo(release["geneinfo"])["feature_space"]
        assert feature_space.value_counts().to_dict() == {
            "landmark": LANDMARKS,
            "best inferred": 100,
            "inferred": 20,
        }
        assert (feature_space.iloc[:LANDMARKS] != "landmark").any()
        with GctxFile(release["level5"]) as file:
            assert (feature_space[file.gene_ids[:LANDMARKS]] != "landmark").any()

    def test_there_is_something_to_select(self, release):
        siginfo = read_siginfo(release["siginfo"])
        assert set(siginfo["pert_type"]) == {"trt_cp", "ctl_vehicle", "trt_sh"}
        assert (siginfo["pert_type"] == "trt_cp").sum() == 300
        assert 0 < (siginfo["qc_pass"] == 0).mean() < 0.1
        assert siginfo.groupby("pert_id")["pert_dose"].nunique().max() > 1

    def test_missing_values_are_written_as_cmap_writes_them(self, release):
        raw = pd.read_csv(release["siginfo"], sep="\t", dtype=str, keep_default_na=False)
        assert not raw.eq("").any(axis=None) and not raw.eq("nan").any(axis=None)
        without_dose = raw["pert_type"] != "trt_cp"
        for column in ("pert_dose", "pert_dose_unit", "pert_idose"):
            assert ((raw[column] == "-666") == without_dose).all()
        assert read_siginfo(release["siginfo"])["pert_dose"].isna().sum() == without_dose.sum()
        assert (raw.loc[raw["nsample"] == "1", "cc_q75"].astype(float) == 0).all()

    def test_samples_stand_in_wells_of_384(self, release):
        instinfo = pd.read_csv(release["instinfo"], sep="\t")
        assert instinfo["sample_id"].is_unique
        assert (instinfo["det_plate"] + ":" + instinfo["det_well"] == instinfo["sample_id"]).all()
        assert instinfo["det_plate"].str.fullmatch(r"DEMO[.\w]+_[A-Z0-9]+_\d+H_X\d_B\d+").all()
        assert instinfo["det_well"].str.fullmatch(r"[A-P]([01]\d|2[0-4])").all()

    def test_few_signatures_name_a_replicate_that_is_not_there(self, release):
        siginfo = read_siginfo(release["siginfo"])
        members = explode_replicates(siginfo["distil_ids"])
        with GctxFile(release["level4"]) as file:
            lost = ~members["profile_id"].isin(file.profile_ids)
        assert 1 <= lost.sum() <= 5
        found = members[~lost].groupby("sig_id").size()
        assert (found[siginfo.index] == siginfo["nsample"]).all()


class TestNumbers:
    def test_level_5_is_modz_of_level_4(self, release):
        landmarks = landmarks_of(release)
        level4 = read_matrix(release["level4"])
        level5 = read_matrix(release["level5"], level4.columns)
        columns = level4.columns.get_indexer(landmarks)
        siginfo = read_siginfo(release["siginfo"])
        for sig_id, distil_ids in siginfo["distil_ids"].items():
            own = [i for i in distil_ids.split("|") if i in level4.index]
            signature, _ = modz(level4.loc[own].to_numpy(), columns)
            np.testing.assert_allclose(level5.loc[sig_id], signature, rtol=1e-5, atol=1e-5)

    def test_cc_q75_is_the_upper_quartile_of_spearman(self, release):
        siginfo = read_siginfo(release["siginfo"])
        level4 = read_matrix(release["level4"], landmarks_of(release))
        for _, row in siginfo[siginfo["nsample"] >= 3].head(5).iterrows():
            own = [i for i in row["distil_ids"].split("|") if i in level4.index]
            pairs = level4.loc[own].T.corr("spearman").to_numpy()[np.triu_indices(len(own), 1)]
            assert row["cc_q75"] == pytest.approx(np.quantile(pairs, 0.75), abs=1e-4)

    def test_apc_is_distributed_as_published(self, demo):
        siginfo = read_siginfo(demo["siginfo"])
        compounds = siginfo[siginfo["pert_type"] == "trt_cp"]
        assert (compounds["nsample"] == 1).mean() == pytest.approx(0.44, abs=0.01)
        assert compounds["nsample"].between(1, 6).all()

        apc = measure_apc(demo).dropna()
        assert 0.05 < apc.median() < 0.085
        assert 0.045 < (apc > 0.5).mean() < 0.08
        counts, edges = np.histogram(apc, np.arange(-0.3, 1, 0.02))
        assert edges[counts.argmax()] == pytest.approx(0.02, abs=0.021)
        assert 0.08 < apc.corr(compounds["pert_dose"][apc.index], method="spearman") < 0.26

    def test_noise_has_about_unit_sd(self, faultless):
        truth = pd.read_csv(faultless["truth_signatures"], sep="\t").set_index("sig_id")
        controls = truth.index[truth["strength"] == 0]
        members = explode_replicates(read_siginfo(faultless["siginfo"])["distil_ids"])
        level4 = read_matrix(faultless["level4"], landmarks_of(faultless))
        own = members.loc[members["sig_id"].isin(controls), "profile_id"]
        assert level4.loc[level4.index.intersection(own)].std(axis=1).mean() == pytest.approx(1, abs=0.1)

    def test_perturbagens_of_one_target_respond_alike(self, demo):
        siginfo = read_siginfo(demo["siginfo"])
        strength = pd.read_csv(demo["truth_signatures"], sep="\t").set_index("sig_id")["strength"]
        strong = siginfo[(strength > 0.5) & (siginfo["pert_type"] == "trt_cp")]
        level5 = read_matrix(demo["level5"], landmarks_of(demo)).loc[strong.index]
        correlation = np.corrcoef(level5)
        target = strong["cmap_name"].str.split("-").str[0].to_numpy()
        other_compound = strong["pert_id"].to_numpy()[:, None] != strong["pert_id"].to_numpy()
        same_target = target[:, None] == target
        assert (same_target & other_compound).any()
        assert correlation[same_target & other_compound].mean() > correlation[~same_target].mean() + 0.2

    def test_compoundinfo_names_the_target_of_most_compounds(self, demo):
        siginfo, table = read_siginfo(demo["siginfo"]), read_drug_targets(demo["compoundinfo"])
        compounds = siginfo[siginfo["pert_type"] == "trt_cp"].drop_duplicates("pert_id").set_index("pert_id")
        named = table["pert_id"].value_counts().reindex(compounds.index, fill_value=0)
        assert named.sum() == len(table) and set(named) == {0, 1, 2}
        assert (named == 0).mean() == pytest.approx(0.2, abs=0.07)
        assert (named == 2).mean() == pytest.approx(0.1, abs=0.05)
        own = compounds["cmap_name"].str.extract(r"target(\d+)-")[0].radd("TARGET")
        assert all(own[pert_id] in set(targets) for pert_id, targets in table.groupby("pert_id")["target"])


class TestTruth:
    def test_faults_change_only_what_the_truth_says(self, release, faultless, truth):
        _, profiles = truth
        before, after = read_matrix(faultless["level4"]), read_matrix(release["level4"])
        touched = (profiles["noise_sd"] > 0) | (profiles["bad_plate"] == 1) | profiles["swapped_with"].notna()
        changed = (before.loc[profiles.index, after.columns] != after.loc[profiles.index]).any(axis=1)
        pd.testing.assert_series_equal(changed, touched, check_names=False)

    def test_planted_noise_has_the_sd_that_is_written_down(self, release, faultless, truth):
        _, profiles = truth
        assert (profiles["noise_sd"] > 0).mean() == pytest.approx(0.2, abs=0.001)
        assert profiles["noise_sd"].max() < 3
        landmarks = landmarks_of(release)
        noise = read_matrix(release["level4"], landmarks) - read_matrix(faultless["level4"], landmarks)
        alone = profiles[(profiles["bad_plate"] == 0) & profiles["swapped_with"].isna()]
        np.testing.assert_allclose(noise.loc[alone.index].std(axis=1), alone["noise_sd"], rtol=0.1)

    def test_swapped_wells_hold_the_profile_of_their_partner(self, release, faultless, truth):
        _, profiles = truth
        swapped = profiles["swapped_with"].dropna()
        assert len(swapped) / len(profiles) == pytest.approx(0.03, abs=0.003)
        assert (swapped[swapped].to_numpy() == swapped.index).all()
        assert (swapped.str.split(":").str[0] == swapped.index.str.split(":").str[0]).all()
        quiet = swapped[profiles.loc[swapped.index, "noise_sd"] == 0]
        before, after = read_matrix(faultless["level4"]), read_matrix(release["level4"])
        np.testing.assert_array_equal(after.loc[quiet.index], before.loc[quiet])

    def test_bad_plates_are_whole_plates(self, release, truth):
        _, profiles = truth
        plate = profiles.index.str.split(":").str[0]
        per_plate = profiles["bad_plate"].groupby(plate).mean()
        assert set(per_plate) == {0, 1} and (per_plate == 1).sum() == 2
        level4 = read_matrix(release["level4"], landmarks_of(release))
        quiet = profiles[(profiles["noise_sd"] == 0)]
        spread = level4.loc[quiet.index].std(axis=1).groupby(quiet["bad_plate"]).median()
        assert spread[1] > 1.2 * spread[0]

    def test_signatures_follow_from_their_replicates(self, release, truth):
        signatures, profiles = truth
        siginfo = read_siginfo(release["siginfo"])
        level4 = read_matrix(release["level4"], landmarks_of(release))
        assert (signatures["n_replicates"] == siginfo["nsample"]).all()
        for sig_id, distil_ids in siginfo["distil_ids"].items():
            own = profiles.loc[[i for i in distil_ids.split("|") if i in profiles.index]]
            _, weights = modz(level4.loc[own.index].to_numpy())
            row, swapped = signatures.loc[sig_id], own["swapped_with"].notna()
            assert row["noise_sd"] == pytest.approx(np.linalg.norm(weights * own["noise_sd"]), abs=1e-4)
            assert row["n_noisy"] == (own["noise_sd"] > 0).sum()
            assert row["n_bad_plate"] == own["bad_plate"].sum()
            assert row["n_swapped"] == swapped.sum()
            expected = "noise" if row["noise_sd"] > 0.5 else "none"
            if weights @ swapped >= 0.25:
                expected = "swapped"
            if weights @ own["bad_plate"] >= 0.25:
                expected = "bad_plate"
            assert row["fault"] == expected

    def test_every_fault_occurs_and_most_signatures_have_none(self, truth):
        signatures, _ = truth
        share = signatures["fault"].value_counts(normalize=True)
        assert set(share.index) == {"none", "noise", "bad_plate", "swapped"}
        assert share["none"] > 0.7

    def test_no_faults_asked_for_none_planted(self, faultless):
        signatures = pd.read_csv(faultless["truth_signatures"], sep="\t", keep_default_na=False)
        assert (signatures["fault"] == "none").all() and (signatures["noise_sd"] == 0).all()

    def test_strength_is_what_clean_replicates_correlate_by(self, faultless):
        signatures = pd.read_csv(faultless["truth_signatures"], sep="\t").set_index("sig_id")
        apc = measure_apc(faultless).dropna()
        error = apc - signatures["strength"][apc.index]
        assert abs(error.mean()) < 0.04
        assert error.std() < 0.06


class TestSeeds:
    def test_the_same_seed_writes_the_same_bytes(self, tmp_path):
        first, again, other = (
            write_release(tmp_path / name, n_signatures=60, seed=seed)
            for name, seed in (("first", 1), ("again", 1), ("other", 2))
        )
        for name in NAMES:
            assert first[name].read_bytes() == again[name].read_bytes()
            assert first[name].read_bytes() != other[name].read_bytes()

    def test_more_faults_than_there_is_room_for(self, tmp_path):
        paths = write_release(tmp_path, n_signatures=60, noisy_share=1, n_bad_plates=999, swapped_share=1)
        profiles = pd.read_csv(paths["truth_profiles"], sep="\t")
        assert (profiles["bad_plate"] == 1).all() and profiles["swapped_with"].isna().all()

    @pytest.mark.parametrize("n_signatures", [1, 7])
    def test_a_handful_of_signatures_will_do(self, tmp_path, n_signatures):
        paths = write_release(tmp_path, n_signatures=n_signatures)
        assert (read_siginfo(paths["siginfo"])["pert_type"] == "trt_cp").sum() == n_signatures
