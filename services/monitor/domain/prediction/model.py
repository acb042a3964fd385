"""The predictor with the prior that ships."""

from __future__ import annotations

from services.monitor.domain.prediction import prior
from services.monitor.domain.prediction.network import Network, decode
from services.monitor.domain.prediction.predictor import Predictor


def shipped_network() -> Network:
    """The prior's network; decoded anew at each call."""
    return decode(prior.SHAPES, prior.LINES)


def new_predictor(horizon: float, size: int = 0) -> Predictor:
    """A predictor that has seen nothing, with room for ``size`` series; ``horizon`` in seconds."""
    return Predictor(shipped_network(), horizon, size)
