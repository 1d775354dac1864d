"""SpikingGamma networks as Brian 2 networks: runtime, C++ standalone, GeNN."""
