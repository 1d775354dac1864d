"""SpikingGamma neurons without a layer barrier: where both systems meet."""
