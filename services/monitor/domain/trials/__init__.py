"""Triggers tried out: expectations on written samples, and the summary of a backtest."""
