"""Makes of Terraform files for Google ones that Terraform can run without the provider: every resource becomes a
`terraform_data`, which is built in and keeps what it is given.

    python google_stand_in.py FROM TO

So Terraform itself evaluates every expression, reference, count, condition and template, plans and applies; what the
arguments mean to Google is not looked at, for which there is `google_schema.py`. Needs python-hcl2.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import hcl2

_META = {"count", "for_each", "depends_on"}
_REFERENCE = re.compile(r"\bgoogle_(\w+)\.(\w+)((?:\[[^\]]+\])?)(\.?)")
# What Google would give: made of the resource's own name.
_GIVEN = {"id": "id-of-{0}", "name": "name-of-{0}", "email": "{0}@email", "member": "serviceAccount:{0}@email"}


def _referred(text: str) -> str:
    """The same expression over the stand-ins."""
    return _REFERENCE.sub(
        lambda found: f"terraform_data.{found[1]}__{found[2]}{found[3]}{'.output.' if found[4] else ''}", text
    )


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _value(inner) for key, inner in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [_value(inner) for inner in value]
    return _referred(_plain(value)) if isinstance(value, str) else value


def _plain(text: str) -> str:
    return json.loads(text) if text.startswith('"') else text


def _arguments(value: Any) -> Any:
    """The same without the contents of dynamic blocks, whose names only mean something inside of them."""
    if isinstance(value, dict):
        return {
            key: [{name: block["for_each"] for name, block in one.items()} for one in inner]
            if key == "dynamic"
            else _arguments(inner)
            for key, inner in value.items()
        }
    return [_arguments(inner) for inner in value] if isinstance(value, list) else value


def _resource(name: str, body: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {key: _value(body[key]) for key in _META & body.keys()}
    if "depends_on" in made:
        made["depends_on"] = [one.removeprefix("${").removesuffix("}") for one in made["depends_on"]]
    conditions = [one for block in body.get("lifecycle", []) for one in block.get("precondition", [])]
    if conditions:
        made["lifecycle"] = {"precondition": _value(conditions)}
    arguments = {key: value for key, value in body.items() if key not in _META | {"lifecycle"}}
    made["input"] = {key: text.format(name) for key, text in _GIVEN.items()} | _value(_arguments(arguments))
    return made


def main(source: Path, target: Path) -> None:
    """Writes the stand-in of every file."""
    for file in source.glob("*.tf"):
        if file.name == "variables.tf":
            shutil.copy(file, target)
            continue
        document = hcl2.loads(file.read_text())
        made: dict[str, Any] = {kind: _value(document[kind]) for kind in ("locals", "output") if kind in document}
        resources = {}
        for block in document.get("resource", []):
            for kind, named in block.items():
                for name, body in named.items():
                    short = f"{_plain(kind).removeprefix('google_')}__{_plain(name)}"
                    resources[short] = _resource(_plain(name), body)
        if resources:
            made["resource"] = {"terraform_data": resources}
        (target / f"{file.stem}.tf.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
