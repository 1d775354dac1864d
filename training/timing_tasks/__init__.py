"""Synthetic tasks whose answer is a time."""
