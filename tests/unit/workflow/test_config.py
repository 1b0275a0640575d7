import pytest
import yaml
from config_table import PAGE, page
from conftest import ROOT

from dvgs.errors import InputError
from dvgs.workflow.config import check_config
from dvgs.workflow.inputs import input_kind, input_paths, settle_selection

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
INPUT = {"level5": "a", "level4": "b", "siginfo": "c", "geneinfo": "d"}


def config(**changes):
    return {"compendium": "x", "targets": {"general": {}}} | changes


def test_defaults_are_the_published_settings():
    found = config()
    check_config(found, SCHEMA)
    assert found["model"] == {"hidden": [256, 256], "latent": 64}
    published = {
        "epochs": 500,
        "batch_size": 5000,
        "learning_rate": 0.001,
        "restarts": 1,
        "every": 1,
        "natural": False,
        "stable": None,
    }
    assert found["trajectory"] == published and found["precision"] == "float32"
    assert found["targets"]["general"]["target_size"] == 5000
    assert found["curves"]["budget"] == "equal_steps" and found["clean"]["cutoff"] == "auto"


def test_defaults_are_not_shared():
    first, second = config(), config()
    check_config(first, SCHEMA)
    first["model"]["hidden"].append(1)
    check_config(second, SCHEMA)
    assert second["model"]["hidden"] == [256, 256]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sed": 1}, "config: sed: unknown key; did you mean 'seed'?"),
        ({"curves": {"quantile": [0.1]}}, "config: curves.quantile: unknown key; did you mean 'quantiles'?"),
        ({"zzz": 1}, "config: zzz: unknown key; known here: compendium, seed"),
        ({"targets": {"general": {"size": 3}}}, "config: targets.general.size: unknown key"),
        ({"curves": {"quantiles": [0.1, 1.5]}}, "config: curves.quantiles.1: 1.5 is greater than or equal"),
        ({"clean": {"cutoff": 1.5}}, "config: clean.cutoff: 1.5 is greater than or equal to the maximum"),
        ({"device": "tpu"}, "config: device: 'tpu' is not one of"),
        ({"targets": {"../x": {}}}, "config: targets: '../x' does not match"),
        ({"compendium": "a/b"}, "config: compendium: 'a/b' does not match"),
        ({"targets": {}}, "config: targets: {} "),
        ({"targets": {2020: {}}}, "config: targets: 2020 is not of type 'string'"),
        ({"targets": {True: {}}}, "config: targets: True is not of type 'string'"),
        (
            {"input": INPUT | {"download": {"level5": {"ulr": "http://x"}}}},
            "input.download.level5.ulr: unknown key; did",
        ),
        (
            {"input": INPUT | {"download": {"level5": {"url": "ftp://x"}}}},
            "download.level5.url: 'ftp://x' does not match",
        ),
        ({"input": INPUT | {"download": {"level5": {"url": "http://x", "size": 0}}}}, "level5.size: 0 is less than"),
        ({"input": INPUT | {"download": {"level5": {"url": "http://x", "sha256": "a0"}}}}, "level5.sha256: 'a0' does"),
    ],
)
def test_errors_name_the_key(changes, message):
    with pytest.raises(InputError) as caught:
        check_config(config(**changes), SCHEMA)
    assert message in str(caught.value)


def test_text_from_the_command_line_is_read_as_what_it_means():
    found = config(
        curves={"quantiles": ["0.1", "0.5"], "epochs": "3"}, select={"qc_pass": "false", "pert_type": "null"}
    )
    found |= {"targets": {"t": {"min_apc": "0.5"}}, "clean": {"cutoff": "0.3"}}
    check_config(found, SCHEMA)
    assert found["curves"]["quantiles"] == [0.1, 0.5] and found["curves"]["epochs"] == 3
    assert found["select"]["qc_pass"] is False and found["select"]["pert_type"] is None
    assert found["targets"]["t"]["min_apc"] == 0.5 and found["clean"]["cutoff"] == 0.3
    found = config(trajectory={"epochs": 1e2, "learning_rate": "1e-3", "batch_size": "5E+3"}, targets={"t": None})
    check_config(found, SCHEMA)
    trajectory = found["trajectory"]
    assert (trajectory["learning_rate"], trajectory["batch_size"]) == (0.001, 5000)
    assert [type(trajectory[key]) for key in ("epochs", "batch_size")] == [int, int]
    assert found["targets"]["t"]["target_size"] == 5000
    with pytest.raises(InputError, match=r"curves.epochs: 1.5 is not of type 'integer'"):
        check_config(config(curves={"epochs": "15e-1"}), SCHEMA)
    with pytest.raises(InputError, match=r"curves.epochs: 'x' is not of type 'integer'; it means: Passes over"):
        check_config(config(curves={"epochs": "x"}), SCHEMA)


def test_missing_required_key():
    with pytest.raises(InputError, match="'targets' is a required property"):
        check_config({"compendium": "x"}, SCHEMA)


@pytest.mark.parametrize(
    "path",
    sorted(set((ROOT / "config").glob("*.yaml")) - set((ROOT / "config").glob("studies*.yaml"))),
    ids=lambda p: p.name,
)
def test_shipped_configs_are_valid(path):
    found = yaml.safe_load(path.read_text())
    check_config(found, SCHEMA)
    try:
        input_paths(found)
    except InputError as error:
        assert error.problem == "no such file"  # nothing else is wrong


def test_every_key_is_described_and_optional_ones_have_a_default():
    def walk(schema, path, required):
        assert schema.get("description"), path
        if path and not required and "properties" not in schema:
            assert "default" in schema or path == "targets" or path.startswith("input."), path
        for name, part in schema.get("properties", {}).items():
            walk(part, f"{path}.{name}" if path else name, name in schema.get("required", []))
        if isinstance(schema.get("additionalProperties"), dict):
            walk(schema["additionalProperties"], path + ".*", True)

    walk(yaml.safe_load(SCHEMA.read_text()), "", True)


def test_page_of_the_config_shows_the_schema():
    assert PAGE.read_text() == page(), "run make docs"


def test_inputs_are_found_from_the_directory(tmp_path):
    files = {"level5": "5.gctx", "level4": "4.gctx", "siginfo": "s.txt", "geneinfo": "g.txt"}
    for name in files.values():
        (tmp_path / name).touch()
    found = input_paths(config(input=files | {"directory": str(tmp_path)}))
    assert found["level5"] == str(tmp_path / "5.gctx") and set(found) == set(files)
    (tmp_path / "c.txt").touch()
    more = input_paths(config(input=files | {"directory": str(tmp_path), "compoundinfo": "c.txt"}))
    assert more == found | {"compoundinfo": str(tmp_path / "c.txt")}
    assert set(input_paths(config(input=files | {"directory": str(tmp_path), "compoundinfo": None}))) == set(files)
    with pytest.raises(InputError, match=r"no.gctx: input.level4: no such file"):
        input_paths(config(input=files | {"directory": str(tmp_path), "level4": "no.gctx"}))
    download = {"level4": {"url": "https://x/y"}}
    files |= {"directory": str(tmp_path), "level4": "no.gctx"}
    assert input_paths(config(input=files | {"download": download})) == found | {"level4": str(tmp_path / "no.gctx")}
    with pytest.raises(InputError, match=r"config: input.download.level3: no such input; known here: level5, level4"):
        input_paths(config(input=files | {"download": download | {"level3": {"url": "https://x/y"}}}))
    with pytest.raises(InputError, match=r"config: input.level5: 'd\{x\}/5.gctx' has a brace.*; rename it"):
        input_paths(config(input=files | {"directory": "d{x}"}))
    with pytest.raises(InputError, match=r"config: select.genes: 'g\{x\}.txt' has a brace"):
        input_paths(config(input=files, select={"genes": "g{x}.txt"}))
    with pytest.raises(InputError, match=r'no.txt: select.genes: no such file; give "landmark", "all" or the path'):
        input_paths(config(input=files, select={"genes": "no.txt"}))
    with pytest.raises(InputError, match="stands beside simulation"):
        input_paths(config(input=files, simulation={}))
    with pytest.raises(InputError, match=r"config: input.level5: missing; name level5, level4, siginfo, geneinfo"):
        input_paths(config())
    with pytest.raises(InputError, match=r"config: input.instinfo: missing; name level4, instinfo"):
        input_paths(config(input=files | {"directory": str(tmp_path)}, level=4))
    assert input_paths(config(input={"profiles": str(tmp_path), "directory": "."})) == {"profiles": str(tmp_path)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level": 4}, "config: level: stands beside input.profiles; keep one of the two"),
        ({"input": {"profiles": "x", "siginfo": "y"}}, "config: input.siginfo: stands beside input.profiles"),
        (
            {"input": INPUT | {"columns": {"cell": "line"}}},
            "config: input.columns.cell: stands beside input.level5, where tables say",
        ),
    ],
)
def test_keys_that_would_be_ignored_are_an_error(changes, message):
    found = config(**{"input": {"profiles": "x"}} | changes)
    check_config(found, SCHEMA)
    with pytest.raises(InputError, match=message):
        input_paths(found)


def test_other_compendia_are_not_selected_as_lincs_is():
    found = config(input={"profiles": "x.h5ad"}, select={"qc_pass": True})
    settle_selection(found)
    check_config(found, SCHEMA)
    assert found["select"] == {"pert_type": None, "qc_pass": True, "genes": "all", "bad_values": "drop"}
    found = config(input={"profiles": "x.h5ad"}, select="{qc_pass: true}")
    settle_selection(found)
    check_config(found, SCHEMA)
    assert found["select"] == {"pert_type": None, "qc_pass": True, "genes": "all", "bad_values": "drop"}
    found = config(input={"profiles": "x.h5ad"}, select=None)
    settle_selection(found)
    check_config(found, SCHEMA)
    assert found["select"]["genes"] == "all"
    found = config(input={"profiles": "x.h5ad"}, select="x")
    settle_selection(found)
    with pytest.raises(InputError, match=r"config: select: 'x' is not of type 'object'"):
        check_config(found, SCHEMA)
    assert [input_kind(c) for c in (found, config(), config(level=4))] == ["profiles", "level5", "level4"]
