"""What a trigger is: metric, groups, condition, time, and the phases it goes through.

Adding a field of the trigger language begins here, in ``rules``.
"""
