"""Each aggregate in a file of its own: every way in which its value comes about, beside each other.

Most answer from cells and have the interface ``Measure``; those that need the samples one by one keep
them in a bank of their own and are an ``OwnBank`` (both in ``measures``). ``registry`` lists them.
"""
