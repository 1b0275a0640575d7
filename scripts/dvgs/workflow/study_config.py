"""The config of the studies: presets choose among studies, and everything is checked before anything runs."""

from pathlib import Path
from typing import Any

import yaml

from dvgs.errors import InputError
from dvgs.methods.registry import row_of
from dvgs.workflow.config import check_config

Study = dict[str, Any]


def read_studies(path: str | Path, preset: str, schema_path: str | Path) -> dict[str, Study]:
    """The studies of a preset by name, complete with defaults.

    path: YAML with `presets` and `studies`. A preset has the names of its `studies`, and `settings` that replace those
    of every study. Raises InputError for an unknown preset or study, for keys that the schema does not know, and for
    studies that are impossible.
    """
    config = _read_yaml(path)
    check_config(config, schema_path, file=path)
    found = {"presets": config["presets"], "studies": _choose(config, preset, path)}
    check_config(found, schema_path, file=path)
    for name, study in found["studies"].items():
        if not isinstance(name, str):
            raise InputError(path, f"studies.{name}", "the name is no text", "put it between quotes")
        for field, problem, remedy in _contradictions(study):
            raise InputError(path, f"studies.{name}.{field}", problem, remedy)
    return found["studies"]


def _read_yaml(path: str | Path) -> Any:
    if not Path(path).is_file():
        raise InputError("config", "studies.file", f"there is no {path}", "correct the path")
    try:
        return yaml.safe_load(Path(path).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(path, "(the whole file)", f"not YAML ({error})", "correct it") from None


def _choose(config: dict, preset: str, path: str | Path) -> dict[str, Study]:
    """The studies of a preset, with its settings."""
    presets, studies = config["presets"], config["studies"]
    if preset not in presets:
        raise InputError("config", "studies.preset", f"{preset} is not known", f"choose one of {', '.join(presets)}")
    chosen = presets[preset]
    names = studies if chosen["studies"] is None else chosen["studies"]
    for name in names:
        if name not in studies:
            raise InputError(path, f"presets.{preset}.studies", f"no study {name}", f"known: {', '.join(studies)}")
    return {name: studies[name] | chosen["settings"] for name in names}


def _contradictions(study: Study) -> list[tuple[str, str, str]]:
    """Field, problem and remedy of each setting that contradicts another one."""
    classify, embedding = study["task"] == "classify", study["features"] == "auto"
    images, vectors = study["data"] == "cifar10", study["data"] in ("adult", "blog")
    grids = [key for key in ("hyperparameters", "scalability") if key in study]
    checks = [
        (
            study["corruption"].keys() == {"labels"} and not classify,
            ("corruption", "there are no labels", "say noise_sd, or classify"),
        ),
        (study["data"] == "l1000" and classify, ("task", "L1000 has no classes", "say reconstruct or denoise")),
        (embedding and not (images and classify), ("features", "no images with classes", "leave it out")),
        (
            embedding and study["scaling"] is not None,
            ("scaling", "an embedding wants images as they are", "leave it out"),
        ),
        (not study["norm"] and not classify, ("norm", "autoencoders have none", "leave it out")),
        *(
            (_needs_classes(method) and not classify, (f"methods.{method}", "there are no classes", "leave it out"))
            for method in study["methods"]
        ),
        (
            "hyperparameters" in grids and not study["hidden"],
            ("hidden", "the grid needs a width", "give one hidden layer or more"),
        ),
        *(
            (not (vectors and classify), (key, "no vectors with classes", "ask for it of adult or blog"))
            for key in grids
        ),
    ]
    return [found for contradicts, found in checks if contradicts]


def _needs_classes(method: str) -> bool:
    row = row_of(method)  # the schema allows no method without one
    return row is not None and "classes" in row.needs
