"""Live side: from an exchange's socket to acknowledged rows in a backend."""

__version__ = "0.1.0"
