"""One thread that owns the model, and what it does for many callers at once."""
