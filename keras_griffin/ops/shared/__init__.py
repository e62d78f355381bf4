"""What several ops use."""
