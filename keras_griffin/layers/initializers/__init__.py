"""Initial values of recurrences."""
