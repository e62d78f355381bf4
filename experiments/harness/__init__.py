"""What all experiments share: runs, their measurements, claims and reports."""
