"""Real models that nobody in this project wrote: fetched at test time, never committed, never shipped."""
