"""Errors for people: each names the setting or file, the value and the mend.

TrainingError             wrong usage, configuration or data: exit 2
└── MachineFailed         the disk or the machine failed us: exit 3
"""

from __future__ import annotations


class TrainingError(Exception):
    """Every error that ends a command with one line instead of a traceback."""

    exit_code = 2


class MachineFailed(TrainingError):
    """The disk or the machine failed."""

    exit_code = 3
