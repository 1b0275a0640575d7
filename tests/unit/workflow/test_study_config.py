import inspect

import pytest
import yaml
from conftest import ROOT

from dvgs.errors import InputError
from dvgs.methods.registry import BASELINES, METHODS, OF_TASKS
from dvgs.workflow.study_config import read_studies

SCHEMA = ROOT / "workflow/schemas/studies.schema.yaml"


def test_schema_knows_the_settings_of_every_method():
    schema = yaml.safe_load(SCHEMA.read_text())
    methods = schema["properties"]["studies"]["additionalProperties"]["properties"]["methods"]
    known = methods["properties"]
    assert set(known) == set(OF_TASKS)
    for name in OF_TASKS:
        parameters = inspect.signature(METHODS[name].load()).parameters.values()
        assert set(known[name].get("properties", {})) == {p.name for p in parameters if p.kind == p.KEYWORD_ONLY}
    varied = {f"^{name}_[a-z_]+\\Z" for name, method in METHODS.items() if method.variants}
    assert set(methods["patternProperties"]) == varied


def test_schema_of_drug_targets_knows_the_methods_of_a_compendium():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    known = schema["properties"]["drug_targets"]["properties"]["methods"]["items"]["enum"]
    assert set(known) == {"dvgs", *BASELINES}


def test_presets():
    file = ROOT / "config/studies.yaml"
    presets = {name: read_studies(file, name, SCHEMA) for name in yaml.safe_load(file.read_text())["presets"]}
    for name, studies in presets.items():
        assert {study["replicates"] for study in studies.values()} == {2 if name == "quick" else 5}
        assert all({"dvgs", "random"} <= study["methods"].keys() for study in studies.values())
    quick, full, l1000, ranks = (presets[name] for name in ("quick", "full", "l1000", "ranks"))
    assert "cifar10_autoencoder" not in quick
    assert (full["blog_labels"]["source"], full["blog_labels"]["target"]) == (1000, 400)
    assert l1000["l1000_denoise"]["task"] == "denoise"
    assert not {study["data"] for study in [*quick.values(), *full.values()]} & {"l1000"}  # the demo has too few
    labels, noise = (full[name]["methods"] for name in ("adult_labels", "adult_noise"))
    ten = {name: labels[name] | {"restarts": 10} for name in labels if name.startswith(("dvgs", "final_loss"))}
    assert noise == labels | ten  # a comparison of methods is not one of starts
    for study in (full["cifar10_autoencoder"], *l1000.values()):  # nor one of the length of trainings
        rivals = (study["methods"][name] for name in ("dvgs", "final_loss", "gradient_norm"))
        assert len({(own.get("epochs", 100), own["batch_size"]) for own in rivals}) == 1
    for name, study in ranks.items():  # the same draws and settings, except for the ranks
        assert study["scaling"] == "ranks" and study["methods"].items() <= full[name]["methods"].items()


NOISE = {"corruption": {"noise_sd": 1}}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"corruption": {"labels": 1.5}}, "studies.x.corruption.labels: 1.5 is greater than the maximum"),
        ({"corruption": {"labels": 0.1, "noise_sd": 1}}, "studies.x.corruption"),
        ({"methods": {"dvgs": {"epoch": 3}}}, "unknown key; did you mean 'epochs'?"),
        ({"methods": {"dvsg": {}}}, "unknown key; did you mean 'dvgs'?"),
        ({"methods": {"dvgs_raw": {"epoch": 3}}}, "studies.x.methods.dvgs_raw"),
        (
            {"methods": {"dvgs_raw": {}, "leave_one": {}}},
            "studies.x.methods.leave_one: unknown key; did you mean 'leave_",
        ),
        ({"methods": {"dvgs_a\n": {}}}, "studies.x.methods.dvgs_a : unknown key"),
        ({"task": "denoise"}, "studies.x.corruption: there are no labels"),
        ({"features": "auto"}, "studies.x.features: no images with classes"),
        ({"data": "cifar10", "task": "denoise", "features": "auto", **NOISE}, "studies.x.features: no images"),
        (
            {"data": "cifar10", "features": "auto", "scaling": "ranks"},
            "studies.x.scaling: an embedding wants images as",
        ),
        ({"task": "denoise", "methods": {"data_oob": {}}, **NOISE}, "studies.x.methods.data_oob: there are no classes"),
        ({"task": "denoise", "norm": False, **NOISE}, "studies.x.norm: autoencoders have none"),
        ({"hidden": [], "hyperparameters": {}}, "studies.x.hidden: the grid needs a width"),
        ({"data": "l1000"}, "studies.x.task: L1000 has no classes"),
        ({"data": "cifar10", "scalability": {}}, "studies.x.scalability: no vectors with classes"),
        ({"hyperparameters": {"dropout": [1]}}, "studies.x.hyperparameters.dropout.0: 1 is"),
    ],
)
def test_impossible_studies(tmp_path, change, message):
    study = {"data": "adult", "corruption": {"labels": 0.2}, "methods": {"random": None}} | change
    (tmp_path / "studies.yaml").write_text(yaml.safe_dump({"presets": {"a": {}}, "studies": {"x": study}}))
    with pytest.raises(InputError) as error:
        read_studies(tmp_path / "studies.yaml", "a", SCHEMA)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("presets: {a: {studies: [x]}}\nstudies: {}", "presets.a.studies: no study x"),
        ("presets: {}\nstudies: {}", "a is not known"),
        ("presets: [", "not YAML"),
        (b"# \xe9".decode("latin-1"), "not YAML"),
        ("presets: {a: {}}\nstudies: {1: {data: adult, corruption: {labels: 0.1}, methods: {random: {}}}}", "no text"),
    ],
)
def test_configs_that_cannot_be(tmp_path, text, message):
    (tmp_path / "studies.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=message):
        read_studies(tmp_path / "studies.yaml", "a", SCHEMA)
    with pytest.raises(InputError, match="there is no"):
        read_studies(tmp_path / "no.yaml", "a", SCHEMA)
