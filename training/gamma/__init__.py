"""Learning of SpikingGamma networks."""
