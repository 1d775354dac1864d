"""Layers as values, and who is connected to whom through which weight."""
