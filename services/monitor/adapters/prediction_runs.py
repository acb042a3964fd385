"""Runs of predictions put aside on disk, so that a month of them takes no memory."""

from __future__ import annotations

import tempfile

import numpy as np

from services.monitor.handlers.prediction_backtest import Run


class RunsOnDisk:
    """Temporary files without a name: the system removes them with the process."""

    def __call__(self, run: Run) -> Run:
        """Write a run; what is returned reads it from the file."""
        with tempfile.TemporaryFile() as file:
            run.tofile(file)
            file.flush()
            return np.memmap(file, dtype=run.dtype, mode="r", shape=run.shape)
