"""The client's errors, as ours: what may pass is told from what does not."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, NotLeaderForPartitionError, ProducerFenced
from aiokafka.errors import TopicAuthorizationFailedError as NotAllowed

from chassis.errors import DependencyUnavailable, Fenced
from chassis.kafka_clients import translated

SURPRISED = KafkaError("Unexpected error during batch delivery")
"""What a producer says for ever after it lost a connection at an unlucky moment: a new one works."""


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (KafkaConnectionError("closed"), DependencyUnavailable),
        (NotLeaderForPartitionError("moved"), DependencyUnavailable),
        (SURPRISED, DependencyUnavailable),
        (ProducerFenced("newer"), Fenced),
        (NotAllowed("t"), NotAllowed),
    ],
)
def test_errors(theirs: KafkaError, ours: type[Exception]) -> None:
    with pytest.raises(ours), translated():
        raise theirs
