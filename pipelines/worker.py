"""A worker process of the local runner: Beam's own, quiet, and gone when its driver is gone.

Started by `beam.local_runner` as `python -m openjft.pipelines.worker`, with Beam's addresses in the environment.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from typing import Final

_SET_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>


def die_with_parent() -> None:
    """Makes this process end with its driver (Linux), also when that is killed.

    Without this a killed build leaves workers that go on writing, beside those of the build that resumes it.
    """
    if sys.platform != "linux":
        return
    driver = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != driver:  # it died in between
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Runs Beam's worker until the driver needs it no more."""
    die_with_parent()
    logging.disable(logging.WARNING)  # Beam sets its level to INFO and writes it to the terminal
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver, which ends its workers
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
