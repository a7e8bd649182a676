"""Scenarios: channels, an audience and a pool over days, in steps, decided by the same core."""
