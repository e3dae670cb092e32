"""Which instance, and where: from the settings of a store to what the client wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage_backends.settings import StoreSettings


@dataclass(frozen=True, slots=True)
class BigtableOptions:
    """`emulator_host` (HOST:PORT) takes the place of the cloud and needs no credentials."""

    project_id: str
    instance_id: str
    emulator_host: str | None = None

    @classmethod
    def of(cls, settings: StoreSettings) -> BigtableOptions:
        """What `settings` say.

        Raises:
            ValueError: one is missing or cannot be; names it.
        """
        project = _given("project_id", settings.bigtable_project_id)
        instance = _given("instance_id", settings.bigtable_instance_id)
        host = settings.bigtable_emulator_host or None
        if host is not None:
            name, colon, port = host.rpartition(":")
            if not (name and colon and port.isdecimal() and 0 < int(port) < 65536):
                raise ValueError(
                    f"--bigtable-emulator-host (BIGTABLE_EMULATOR_HOST) {host!r} is not HOST:PORT, as in localhost:8086"
                )
        return cls(project, instance, host)

    @property
    def instance(self) -> str:
        """The instance's full name."""
        return f"projects/{self.project_id}/instances/{self.instance_id}"

    @property
    def where(self) -> str:
        """The settings in effect, for messages."""
        emulator = f", BIGTABLE_EMULATOR_HOST {self.emulator_host}" if self.emulator_host else ""
        return f"BIGTABLE_PROJECT_ID {self.project_id}, BIGTABLE_INSTANCE_ID {self.instance_id}{emulator}"


def _given(option: str, value: str | None) -> str:
    flag, variable = f"--bigtable-{option.replace('_', '-')}", f"BIGTABLE_{option.upper()}"
    if not value:
        raise ValueError(f"--backend bigtable needs {flag} (or {variable})")
    if "/" in value or value != value.strip():
        raise ValueError(f"{flag} ({variable}) {value!r} is no id; give the bare id, without projects/ or instances/")
    return value
