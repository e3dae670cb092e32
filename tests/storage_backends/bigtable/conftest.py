from tests.bigtable_emulator import emulator_host, options, own_emulator

__all__ = ["emulator_host", "options", "own_emulator"]
