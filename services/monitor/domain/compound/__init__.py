"""Compound triggers: what several components, or a person, say about the whole system.

The engine decides about one component on one partition. This is the second stage: pure state
machines over what the first has announced (``members``) and over what was reported (``reports``).
"""
