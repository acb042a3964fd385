"""The transitions of a partition as a function of its log, rules and settings.

``engine`` is the way in; ``evaluation`` does a block of seconds, ``walk`` steps each trigger through
it, and ``sweeper`` does the same for long blocks from change to change. Nothing here reads a clock.
"""
