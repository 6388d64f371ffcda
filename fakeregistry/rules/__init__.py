"""Rules: when a fault strikes. Targets, conditions, windows, barriers, the clock."""
