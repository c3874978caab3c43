"""From a flat network to the text that a person wants to review: known patterns as their op, repeated structure as blocks."""
