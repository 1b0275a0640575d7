"""The tables of config/README.md, made from the schemas: `make docs` writes it, a test compares it."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE, SCHEMAS = ROOT / "config/README.md", ROOT / "workflow/schemas"
STUDIES = """
## Studies

The keys of `studies.yaml`, checked against `workflow/schemas/studies.schema.yaml`. Settings of methods that are not
given are the published ones, which stand in the files of `scripts/dvgs/methods`.

"""
HEAD = "| key | default | meaning |\n|---|---|---|\n"


def describe(schema: dict, path: str = "") -> list[str]:
    """A row for every key of a schema, in its order."""
    rows = []
    parts = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict):
        parts["{name}"] = schema["additionalProperties"]
    for name, part in parts.items():
        key = f"{path}.{name}" if path else name
        below = describe(part, key)
        default = ""
        if "default" in part and not below:
            default = yaml.safe_dump(part["default"], default_flow_style=True, width=1000).replace("...", "").strip()
            default = f"`{default}`"
        rows += [f"| `{key}` | {default} | {part['description']} |\n", *below]
    return rows


def page() -> str:
    """The page as it should be: its own words, then the tables."""
    config, studies = (
        HEAD + "".join(describe(yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text())))
        for name in ("config", "studies")
    )
    return PAGE.read_text().partition(HEAD)[0] + config + STUDIES + studies


if __name__ == "__main__":
    PAGE.write_text(page())
