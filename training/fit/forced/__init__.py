"""Costs of a neuron that is reset at the recorded spikes: between these it is a smooth system."""
