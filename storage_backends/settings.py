"""Which store, and what its backend needs to know: one object from the command line to `open_store`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where rows are. Each field but `file_format` is an option of the same name; a backend reads those of its own.

    `data_dir` holds the tables of `local`; whatever the backend, a collector's journal is there. `file_format` is that
    of new files, for backends that keep files.
    """

    backend: str = "local"
    data_dir: Path = Path("data")
    file_format: str = "parquet"
    s3_bucket: str | None = None
    s3_prefix: str = ""
    s3_region: str | None = None
    s3_endpoint_url: str | None = None
    bigtable_project_id: str | None = None
    bigtable_instance_id: str | None = None
    bigtable_emulator_host: str | None = None

    @property
    def flush_interval_s(self) -> float:
        """How long rows may wait, unless somebody says otherwise: files want minutes of them, Bigtable each second."""
        return 1.0 if self.backend == "bigtable" else 300.0

    @property
    def place(self) -> tuple[str, str]:
        """The setting that says where the rows are, and its value; for messages."""
        if self.backend == "s3":
            return "--s3-bucket", f"s3://{self.s3_bucket}/{self.s3_prefix.strip('/')}".rstrip("/")
        if self.backend == "bigtable":
            return "--bigtable-instance-id", str(self.bigtable_instance_id)
        return "--data-dir", str(self.data_dir)
