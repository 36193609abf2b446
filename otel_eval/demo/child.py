"""A process of the demo, which ends with it: `python -m otel_eval.demo.child MODULE ARGUMENTS...`.

Standard input is a pipe from the demo. When that ends, for the terminal is closed or the demo was killed, this process is
asked to stop, as by SIGTERM.
"""

import os
import runpy
import signal
import sys
import threading


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
