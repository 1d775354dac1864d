"""Trained networks for others: the exchange format NIR, whole-number weights, spikes as neo objects."""
