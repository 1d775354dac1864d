"""Asynchronous networks: no layer barrier, spikes delivered in the order that a scheduler picks."""
