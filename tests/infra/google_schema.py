"""Do the Terraform files of a folder agree with the schema of the Google provider? Without the provider itself.

    python google_schema.py WHEEL FOLDER

WHEEL is `cdktf-cdktf-provider-google`, whose jsii assembly holds every resource of the provider with all arguments,
which of them are required, and which are blocks. Needs python-hcl2. Prints what is wrong; exit code 1 if anything is.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import hcl2

_META = {"count", "for_each", "depends_on", "provider", "lifecycle"}


class Schema:
    """Arguments of each resource: name to (optional, name of the structure behind it or None)."""

    def __init__(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as outer:
            name = next(one for one in outer.namelist() if one.endswith(".jsii.tgz"))
            with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as inner:
                member = inner.extractfile("package/.jsii")
                assert member is not None
                types = json.load(member)["types"]
        self._types = {full.rsplit(".", 1)[1]: body for full, body in types.items()}

    def structure(self, kind: str, resource: str) -> str | None:
        """The structure of `google_compute_instance`, as resource or data."""
        camel = "".join(part.capitalize() for part in resource.split("_")[1:])
        name = ("DataGoogle" if kind == "data" else "") + camel + "Config"
        return name if name in self._types else None

    def arguments(self, structure: str) -> dict[str, tuple[bool, str | None]]:
        """Of one structure, in Terraform's spelling."""
        found: dict[str, tuple[bool, str | None]] = {}
        for base in self._types[structure].get("interfaces", []):
            if base.rsplit(".", 1)[1] in self._types:
                found |= self.arguments(base.rsplit(".", 1)[1])
        for one in self._types[structure].get("properties", []):
            snake = re.sub("([A-Z])", lambda letter: f"_{letter[1].lower()}", one["name"])
            found[snake] = (bool(one.get("optional")), self._behind(one["type"]))
        return found

    def _behind(self, kind: dict[str, Any]) -> str | None:
        if "fqn" in kind:
            name = kind["fqn"].rsplit(".", 1)[1]
            return name if name in self._types else None
        if "collection" in kind:
            return self._behind(kind["collection"]["elementtype"])
        if "union" in kind:
            return next((name for name in map(self._behind, kind["union"]["types"]) if name), None)
        return None


def _plain(name: str) -> str:
    return name.strip('"')


def _check(schema: Schema, path: str, body: dict[str, Any], structure: str, wrong: list[str]) -> None:
    known, given = schema.arguments(structure), set()
    for key, value in body.items():
        name = _plain(key)
        if name == "dynamic":
            for block in value:
                for label, inner in block.items():
                    given.add(_plain(label))
                    for content in inner["content"]:
                        _inside(schema, path, _plain(label), content, known, wrong)
        elif name not in _META and not name.startswith("__"):
            given.add(name)
            _inside(schema, path, name, value, known, wrong)
    wrong += [
        f"{path}: {name} is missing" for name, (optional, _) in known.items() if not optional and name not in given
    ]


def _inside(
    schema: Schema, path: str, name: str, value: Any, known: dict[str, tuple[bool, str | None]], wrong: list[str]
) -> None:
    if name not in known:
        wrong.append(f"{path}: {name} is no argument")
        return
    behind = known[name][1]
    for block in value if isinstance(value, list) else [value]:
        if behind is not None and isinstance(block, dict):
            _check(schema, f"{path}.{name}", block, behind, wrong)


def main(wheel: str, folder: str) -> int:
    """Checks every `google_` block; exit code."""
    schema, wrong, count = Schema(Path(wheel)), [], 0
    for file in sorted(Path(folder).glob("*.tf")):
        document = hcl2.loads(file.read_text())
        for kind in ("resource", "data"):
            for block in document.get(kind, []):
                for label, named in block.items():
                    resource = _plain(label)
                    if not resource.startswith("google_"):
                        continue
                    for name, body in named.items():
                        if _plain(name).startswith("__"):
                            continue
                        path = f"{file.name}: {resource}.{_plain(name)}"
                        structure = schema.structure(kind, resource)
                        count += 1
                        if structure is None:
                            wrong.append(f"{path}: the provider has no such {kind}")
                        else:
                            _check(schema, path, body, structure, wrong)
    print("\n".join([*wrong, f"{count} blocks of Google's provider looked at, {len(wrong)} faults"]))
    return int(bool(wrong) or not count)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
