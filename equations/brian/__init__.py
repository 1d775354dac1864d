"""What the user's own Brian 2 objects say, as hybrid systems."""
