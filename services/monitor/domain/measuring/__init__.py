"""What a window holds: samples in columns, and from them the value of each aggregate.

Each aggregate is a small file in ``aggregates`` with an interface of ``measures``; ``registry`` lists them.
"""
