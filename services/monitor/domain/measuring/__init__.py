"""What a window holds: samples in columns, and from them the value of each aggregate.

Each aggregate is a small file with the interface of ``measures`` (where running sums and cells can
answer) or a bank of its own with the interface that ``windows`` names.
"""
