"""Runs that resume where they were interrupted."""
