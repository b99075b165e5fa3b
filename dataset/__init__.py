"""Dataset building overnight: plans, the runner, groups and pairs, export."""
