"""Runs that go on where they were cut off."""
