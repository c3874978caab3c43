"""The plan: groups in order come in; where each value lives, and when it dies, goes out."""
