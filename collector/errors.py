"""Errors for people: each names the setting, the value and the mend.

CollectorError
├── ConfigurationError    wrong usage or configuration: exit 2
└── MachineFailed         the machine failed us, a disk error for one: exit 3
"""

from __future__ import annotations

EXIT_BAD_NEWS = 1
EXIT_USAGE = 2
EXIT_MACHINE = 3


class CollectorError(Exception):
    """Every error that ends a command with one line instead of a traceback."""

    exit_code = EXIT_USAGE


class ConfigurationError(CollectorError):
    """A setting that cannot be used as it is."""

    def __init__(self, setting: str, value: object, mend: str) -> None:
        super().__init__(f"{setting} {value}: {mend}")


class MachineFailed(CollectorError):
    """The disk or the machine failed; nothing more can be promised by this process."""

    exit_code = EXIT_MACHINE
