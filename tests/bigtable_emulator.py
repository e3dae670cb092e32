"""Google's Bigtable emulator, from the Cloud SDK of this machine or from a container; and tables in it for a test."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage_backends.bigtable.admin import create
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.settings import StoreSettings

_IMAGE = "google/cloud-sdk:emulators"
_PORT = 8086
_START_S = 40

_instances = itertools.count(1)


class Emulator:
    """One process on a port of loopback, which it keeps when it is started again. Its tables die with it."""

    def __init__(self, program: Path) -> None:
        self._program = program
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Returns once it listens."""
        self.process = subprocess.Popen(
            [self._program, "-host", "127.0.0.1", "-port", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self.process.poll() is None:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"{self._program} does not listen on {self.host}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def emulator_program() -> Path | None:
    """`cbtemulator` on the path or in the Cloud SDK; None where there is none."""
    found = shutil.which("cbtemulator")
    if found:
        return Path(found)
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None
    beside = Path(gcloud).resolve().parent.parent
    asked = [gcloud, "info", "--format=value(installation.sdk_root)"]
    for root in (lambda: beside, lambda: Path(subprocess.check_output(asked, text=True).strip())):
        program = root() / "platform" / "bigtable-emulator" / "cbtemulator"
        if program.is_file():
            return program
    return None


def _docker_works() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "info"], check=False, capture_output=True, timeout=30).returncode == 0


@pytest.fixture(scope="session")
def emulator_host() -> Iterator[str]:
    """HOST:PORT of an emulator that all tests of this process share."""
    program = emulator_program()
    if program is not None:
        emulator = Emulator(program)
        yield emulator.host
        emulator.kill()
    elif _docker_works():
        from testcontainers.core.container import DockerContainer

        command = f"gcloud beta emulators bigtable start --host-port=0.0.0.0:{_PORT}"
        with DockerContainer(_IMAGE).with_command(command).with_exposed_ports(_PORT) as container:
            host = f"{container.get_container_host_ip()}:{container.get_exposed_port(_PORT)}"
            _wait_for(host)
            yield host
    else:
        without_emulator()


def without_emulator() -> None:
    """Says what is missing; fails where tests must run."""
    missing = (
        "no Bigtable emulator: install the Cloud SDK with its component bigtable "
        "(gcloud components install bigtable), or Docker"
    )
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(missing)
    pytest.skip(missing)


def _wait_for(host: str) -> None:
    """Returns once it answers. Docker listens on a published port before anything in the container does."""
    import grpc

    with grpc.insecure_channel(host) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_START_S)
        except grpc.FutureTimeoutError:
            raise RuntimeError(f"no emulator answers on {host}") from None


def new_options(host: str) -> BigtableOptions:
    """An instance of its own, which an emulator makes when it is named."""
    return BigtableOptions("tests", f"instance-{os.getpid()}-{next(_instances)}", host)


@pytest.fixture
def options(emulator_host: str) -> BigtableOptions:
    """An instance with empty tables."""
    made = new_options(emulator_host)
    create(made)
    return made


def settings_of(options: BigtableOptions, **others: Any) -> StoreSettings:
    """The same instance for a command."""
    return StoreSettings(
        backend="bigtable",
        bigtable_project_id=options.project_id,
        bigtable_instance_id=options.instance_id,
        bigtable_emulator_host=options.emulator_host,
        **others,
    )


def flags_of(options: BigtableOptions) -> list[str]:
    """The same instance on a command line."""
    return [
        "--backend=bigtable",
        f"--bigtable-project-id={options.project_id}",
        f"--bigtable-instance-id={options.instance_id}",
        f"--bigtable-emulator-host={options.emulator_host}",
    ]
