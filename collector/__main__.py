"""`python -m collector`."""

import signal

# Ctrl-C while modules are still being imported ends the process as the shell knows it, without a traceback.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from collector.cli import main

main()
