"""What goes into images is a part of what is tested, at the same versions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
IMAGES = ("requirements-collector.lock", "requirements-training.lock")


def _versions(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE))


@pytest.mark.parametrize("lock", IMAGES)
def test_an_image_has_the_versions_that_are_tested(lock: str) -> None:
    everything, image = _versions("requirements.lock"), _versions(lock)
    assert len(image) > 20
    assert {name: everything.get(name) for name in image} == image


def test_the_collectors_image_has_neither_training_nor_tests() -> None:
    image = _versions("requirements-collector.lock")
    assert not {"torch", "onnx", "onnxruntime", "matplotlib", "apache-beam", "pytest", "moto", "pandas", "ruff"} & set(
        image
    )
    assert {"ccxt", "pyarrow", "boto3", "google-cloud-bigtable", "fastapi", "prometheus-client"} <= set(image)


def test_what_torch_needs_is_held_to_one_version_for_each_python() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    script = re.search(r"^RUN sed -n '(.+)' /src/requirements.lock >/src/versions", dockerfile, re.MULTILINE)
    assert script is not None
    done = subprocess.run(
        ["sed", "-n", script[1], "requirements.lock"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    constraints = [Requirement(line) for line in done.stdout.splitlines()]
    assert {one.name for one in constraints} == _versions("requirements.lock").keys()
    for python in ("3.11", "3.12", "3.13"):
        environment = {"python_version": python, "python_full_version": f"{python}.1"}
        names = [one.name for one in constraints if one.marker is None or one.marker.evaluate(environment)]
        assert len(names) == len(set(names)), python


@pytest.mark.parametrize("lock", IMAGES)
def test_every_requirement_is_hashed(lock: str) -> None:
    for block in re.split(r"\n(?=[A-Za-z0-9])", (ROOT / lock).read_text().strip()):
        assert "--hash=sha256:" in block, block.splitlines()[0]
