"""Train the predictions' prior anew: ``python -m benchmarks.prediction_prior``.

Runs generated series (benchmarks/prediction_series.py) through the memory of the predictor,
collects what the network would have looked at and what came, fits the network by Adam (Kingma and
Ba 2015) on the log loss, and writes services/monitor/domain/prediction/prior.py. No recorded
series is read. A few minutes on one core.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.prediction_series import Generated, generate
from services.monitor.domain.prediction.features import FEATURES
from services.monitor.domain.prediction.network import Layers
from services.monitor.domain.prediction.predictor import Predictor
from services.monitor.domain.prediction.scoring import observe_truth

Matrix = npt.NDArray[np.float32]
TARGET = Path("services/monitor/domain/prediction/prior.py")
HIDDEN = (64, 24)
KEPT = 0.35
"""Share of the predictions that are learned from: neighbours say much the same."""
# Horizon and the steps that its series may have, in seconds.
MIXES: tuple[tuple[float, tuple[float, ...]], ...] = (
    (1_800.0, (300.0,)),
    (1_800.0, (300.0, 600.0, 900.0)),
    (1_800.0, (300.0, 300.0, 60.0)),
    (900.0, (300.0, 150.0)),
    (3_600.0, (600.0, 300.0)),
)


def main() -> None:
    options = _parse()
    began = time.monotonic()
    inputs, came = [], []
    for number in range(options.rounds):
        horizon, steps = MIXES[number % len(MIXES)]
        series = generate(options.seed + number, options.series, options.length, steps)
        looked, answers = collect(series, horizon, options.seed + number)
        inputs.append(looked)
        came.append(answers)
        print(
            f"{time.monotonic() - began:5.0f} s  {len(answers)} predictions, {answers.mean():.3f} came true"
        )
    fitted = fit(np.concatenate(inputs), np.concatenate(came), options.epochs, options.seed)
    write(fitted, options.output)
    print(f"{time.monotonic() - began:5.0f} s  written to {options.output}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction_prior", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--series", type=int, default=300)
    parser.add_argument("--length", type=int, default=3_700)
    parser.add_argument("--epochs", type=int, default=11)
    parser.add_argument("--output", type=Path, default=TARGET)
    options: argparse.Namespace = parser.parse_args()
    return options


@dataclass(slots=True)
class _Recorder:
    """Stands where the network will, and keeps what it is shown."""

    hidden: int = 1
    shown: list[npt.NDArray[np.float64]] = field(default_factory=list)

    def forward(
        self, inputs: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        self.shown.append(inputs)
        return np.zeros((len(inputs), 1)), np.zeros(len(inputs))


def collect(series: Generated, horizon: float, seed: int) -> tuple[Matrix, Matrix]:
    """Features of a random share of the judged predictions, and 1.0 where a breach came."""
    random = np.random.default_rng(seed)
    count, length = series.time.shape
    recorder = _Recorder()
    predictor = Predictor(recorder, horizon, count)
    rows = np.arange(count)
    truths = [
        observe_truth(times, excess, 0.0, horizon)
        for times, excess in zip(series.time, series.excess, strict=True)
    ]
    judged = np.stack([truth.judged for truth in truths])
    within = np.stack([truth.within for truth in truths])
    looked, came = [], []
    for index in range(length):
        said = predictor.observe(rows, series.time[:, index], series.excess[:, index])
        made = np.flatnonzero(np.isfinite(said))
        if len(made):
            chosen = judged[made, index] & (random.random(len(made)) < KEPT)
            looked.append(recorder.shown[-1][chosen].astype(np.float32))
            came.append(within[made[chosen], index].astype(np.float32))
        recorder.shown.clear()
    return np.concatenate(looked), np.concatenate(came)


def fit(inputs: Matrix, came: Matrix, epochs: int, seed: int) -> list[tuple[Matrix, Matrix]]:
    """Weights and biases by layer, by Adam with a falling rate."""
    random = np.random.default_rng(seed)
    sizes = (FEATURES, *HIDDEN, 1)
    layers = [
        (
            (random.standard_normal((one, two)) * np.sqrt(1.0 / one)).astype(np.float32),
            np.zeros(two, dtype=np.float32),
        )
        for one, two in itertools.pairwise(sizes)
    ]
    moments = [[np.zeros_like(part) for part in layer] for layer in layers]
    squares = [[np.zeros_like(part) for part in layer] for layer in layers]
    batch, step = 1_024, 0
    total = epochs * (len(came) // batch)
    for epoch in range(epochs):
        order = random.permutation(len(came))
        loss = 0.0
        for first in range(0, len(came) - batch + 1, batch):
            picked = order[first : first + batch]
            gradients, lost = _gradients(layers, inputs[picked], came[picked])
            loss += lost
            step += 1
            rate = 0.003 * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * step / total)))
            _adam(layers, gradients, moments, squares, step, rate)
        print(f"epoch {epoch + 1}: log loss {loss / (len(came) // batch):.5f}", flush=True)
    return layers


def _gradients(
    layers: list[tuple[Matrix, Matrix]], inputs: Matrix, came: Matrix
) -> tuple[list[tuple[Matrix, Matrix]], float]:
    active = [inputs]
    for weights, bias in layers[:-1]:
        active.append(np.tanh(active[-1] @ weights + bias))
    weights, bias = layers[-1]
    said = 1 / (1 + np.exp(-np.clip((active[-1] @ weights + bias)[:, 0], -30, 30)))
    loss = -float(np.mean(came * np.log(said + 1e-7) + (1 - came) * np.log(1 - said + 1e-7)))
    error = ((said - came) / len(came))[:, None].astype(np.float32)
    gradients = []
    for index in reversed(range(len(layers))):
        gradients.append((active[index].T @ error + 1e-6 * layers[index][0], error.sum(axis=0)))
        if index:
            error = (error @ layers[index][0].T) * (1 - active[index] ** 2)
    return gradients[::-1], loss


def _adam(
    layers: list[tuple[Matrix, Matrix]],
    gradients: list[tuple[Matrix, Matrix]],
    moments: list[list[Matrix]],
    squares: list[list[Matrix]],
    step: int,
    rate: float,
) -> None:
    for index, layer in enumerate(layers):
        for which, part in enumerate(layer):
            gradient = gradients[index][which]
            moment, square = moments[index][which], squares[index][which]
            moment += 0.1 * (gradient - moment)
            square += 0.001 * (gradient * gradient - square)
            part -= rate * (moment / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)


def write(layers: list[tuple[Matrix, Matrix]] | Layers, path: Path) -> None:
    """The module that holds the weights."""
    numbers = np.concatenate([part.ravel() for layer in layers for part in layer]).astype("<f4")
    lines = textwrap.wrap(base64.b85encode(numbers.tobytes()).decode(), 100)
    shapes = tuple(layer[0].shape for layer in layers)
    quoted = "\n".join(f"    {line!r}," for line in lines)
    path.write_text(
        '"""The weights of the prior, written by benchmarks/prediction_prior.py."""\n\n'
        "# ruff: noqa\n# fmt: off\n"
        f"SHAPES = {shapes}\nLINES = (\n{quoted}\n)\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
