"""SpikingGamma networks: gamma memory and sigma-delta spikes, layer by layer."""
