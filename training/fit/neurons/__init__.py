"""What can be fitted: neurons, their parameters and the bounds of these."""
