"""The prior: a small network from features to the log-odds of a breach within the horizon.

A new series has no past to learn from, and two weeks of one hold few breaches. So how the
features hang together with what follows is learned beforehand, on many generated series of many
kinds (benchmarks/prediction_prior.py), and never on a recorded one; what is particular to a
series is in its features, and in the corrections that `correction` learns online.

Products are summed in a fixed order: a row's result must not depend on which other rows are
computed with it, or a backtest would differ from the live service in the last bits.
"""

from __future__ import annotations

from base64 import b85decode
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Layers = tuple[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], ...]


@dataclass(frozen=True, slots=True)
class Network:
    """Weights and biases by layer; tanh between them, one output."""

    layers: Layers

    @property
    def hidden(self) -> int:
        """Units of the last hidden layer."""
        return len(self.layers[-1][0])

    def forward(self, inputs: Array) -> tuple[Array, Array]:
        """The last hidden layer's activations and the log-odds, one row a series."""
        active = inputs
        for weights, bias in self.layers[:-1]:
            active = np.tanh(product(active, weights) + bias)
        weights, bias = self.layers[-1]
        return active, (product(active, weights) + bias)[:, 0]


def product(rows: Array, weights: Array) -> Array:
    """``rows @ weights``, each element summed in the order of the columns."""
    total = np.zeros((len(rows), weights.shape[1]))
    for index in range(weights.shape[0]):
        total += rows[:, index, None] * weights[index]
    return total


def decode(shapes: tuple[tuple[int, int], ...], lines: tuple[str, ...]) -> Network:
    """Read the weights as ``benchmarks/prediction_prior.py`` writes them (float32, base 85)."""
    numbers = np.frombuffer(b85decode("".join(lines)), dtype="<f4").astype(np.float64)
    layers, at = [], 0
    for inputs, outputs in shapes:
        weights = numbers[at : at + inputs * outputs].reshape(inputs, outputs)
        at += inputs * outputs
        layers.append((weights, numbers[at : at + outputs]))
        at += outputs
    if at != len(numbers):
        raise ValueError(f"{len(numbers)} numbers for layers of {at}")
    return Network(tuple(layers))
