"""The demonstration: the sample system degrades, and backout does the rest."""
