"""The tuner: groups and providers come in, one tactic a group goes out; what was decided can be locked in a file."""
