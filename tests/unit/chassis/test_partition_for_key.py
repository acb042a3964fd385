"""Where a key goes must be where every Kafka client sends it."""

from __future__ import annotations

import pytest

from chassis.kafka import partition_for_key


@pytest.mark.parametrize(
    ("key", "murmur2"),
    # The hashes that Kafka's own tests of its clients fix.
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)],
)
def test_as_the_java_client_does(key: bytes, murmur2: int) -> None:
    assert partition_for_key(key, 1_000) == (murmur2 & 0x7FFFFFFF) % 1_000
