"""The same export as an Apache Beam pipeline, for those who outgrow one machine.

Each element is one range. On runners elsewhere the store and `output` must be reachable from their workers: S3 or
Bigtable, and a bucket.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from training.errors import TrainingError
from training.export import Range, Spec, export_range, file_name, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNNERS: Final = {"direct": "DirectRunner", "dataflow": "DataflowRunner"}


def run_beam(spec: Spec, runner: str, arguments: Sequence[str], remote: str | None = None) -> None:
    """Exports all ranges of `spec` on a runner, and waits for it.

    Args:
        arguments: of the runner, such as --project=… and --temp_location=gs://….
        remote: a folder in a bucket, in place of `spec.output`.

    Raises:
        TrainingError: Beam is not installed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise TrainingError(f"--runner {runner}: needs Apache Beam; pip install 'depth-collector[beam]'") from error
    options = PipelineOptions([f"--runner={RUNNERS[runner]}", *arguments])
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "Ranges" >> beam.Create([tuple(part) for part in plan(spec)])
            # Without it runners fuse all ranges into one piece of work.
            | "Spread" >> beam.Reshuffle()
            | "Export" >> beam.Map(_export, spec, remote)
        )


def _export(part: tuple[int, int], spec: Spec, remote: str | None) -> int:
    chosen = Range(*part)
    if remote is None:
        return export_range(spec, chosen)
    from apache_beam.io.filesystems import FileSystems

    target = FileSystems.join(remote, file_name(chosen))
    if FileSystems.exists(target):
        return 0
    with tempfile.TemporaryDirectory() as folder:
        local = dataclasses.replace(spec, output=folder)
        rows = export_range(local, chosen)
        with (Path(folder) / file_name(chosen)).open("rb") as source:
            unfinished: Any = FileSystems.create(target + ".tmp")
            with unfinished as sink:
                shutil.copyfileobj(source, sink)
        FileSystems.rename([target + ".tmp"], [target])
    return rows
