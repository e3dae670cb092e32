from tests.bigtable_emulator import emulator_host, options
from tests.bigtable_proxy import proxy

__all__ = ["emulator_host", "options", "proxy"]
