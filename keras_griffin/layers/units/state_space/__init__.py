"""Units with a time-invariant state space."""
