"""What an application under backout's protection uses: a client of its circuit breakers.

A package of its own: it needs aiokafka and nothing of backout, and nothing of backout needs it.
The contract between the two is the breakers topic (``schemas/breakers.py``, ``docs/breakers.md``).
"""

from backout_client.breakers import BREAKERS_TOPIC, BreakerClient
from backout_client.decisions import Decision, WhenStale
from backout_client.reading import State, UnreadableRecord
from backout_client.threaded import BreakerThread

__all__ = [
    "BREAKERS_TOPIC",
    "BreakerClient",
    "BreakerThread",
    "Decision",
    "State",
    "UnreadableRecord",
    "WhenStale",
]
