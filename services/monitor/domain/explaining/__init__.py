"""Why a trigger fired or did not, and the nearest change that would have turned it."""
