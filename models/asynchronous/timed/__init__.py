"""Asynchronous networks in continuous time."""
