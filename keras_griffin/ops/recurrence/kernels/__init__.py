"""Walks along time on GPUs and TPUs."""
