"""The config of the studies: presets over studies, checked before anything runs."""

from pathlib import Path

import yaml

from dvgs.errors import InputError
from dvgs.methods.registry import row_of
from dvgs.workflow.config import check_config


def read_studies(path, preset, schema_path):
    """The studies of a preset, dict by name, complete with defaults.

    path: YAML with `presets`, each with the names of its `studies` and `settings` that replace those of every study,
    and `studies`. Raises InputError for an unknown preset or study and for keys that the schema does not know.
    """
    if not Path(path).is_file():
        raise InputError("config", "studies.file", f"there is no {path}", "correct the path")
    try:
        config = yaml.safe_load(Path(path).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(path, "(the whole file)", f"not YAML ({error})", "correct it") from None
    check_config(config, schema_path, file=path)
    presets, studies = config["presets"], config["studies"]
    if preset not in presets:
        raise InputError("config", "studies.preset", f"{preset} is not known", f"choose one of {', '.join(presets)}")
    chosen = presets[preset]
    names = studies if chosen["studies"] is None else chosen["studies"]
    for name in names:
        if name not in studies:
            raise InputError(path, f"presets.{preset}.studies", f"no study {name}", f"known: {', '.join(studies)}")
    found = {"presets": presets, "studies": {name: studies[name] | chosen["settings"] for name in names}}
    check_config(found, schema_path, file=path)
    for name, study in found["studies"].items():
        if not isinstance(name, str):
            raise InputError(path, f"studies.{name}", "the name is no text", "put it between quotes")
        if study["corruption"].keys() == {"labels"} and study["task"] != "classify":
            raise InputError(path, f"studies.{name}.corruption", "there are no labels", "say noise_sd, or classify")
        if study["data"] == "l1000" and study["task"] == "classify":
            raise InputError(path, f"studies.{name}.task", "L1000 has no classes", "say reconstruct or denoise")
        if study["features"] == "auto" and (study["data"] != "cifar10" or study["task"] != "classify"):
            raise InputError(path, f"studies.{name}.features", "no images with classes", "leave it out")
        if study["features"] == "auto" and study["scaling"]:
            raise InputError(path, f"studies.{name}.scaling", "an embedding wants images as they are", "leave it out")
        if not study["norm"] and study["task"] != "classify":
            raise InputError(path, f"studies.{name}.norm", "autoencoders have none", "leave it out")
        for method in study["methods"]:
            if "classes" in row_of(method).needs and study["task"] != "classify":
                raise InputError(path, f"studies.{name}.methods.{method}", "there are no classes", "leave it out")
        if "hyperparameters" in study and not study["hidden"]:
            raise InputError(path, f"studies.{name}.hidden", "the grid needs a width", "give one hidden layer or more")
        for key in study.keys() & {"hyperparameters", "scalability"}:
            if study["data"] not in ("adult", "blog") or study["task"] != "classify":
                raise InputError(
                    path, f"studies.{name}.{key}", "no vectors with classes", "ask for it of adult or blog"
                )
    return found["studies"]
