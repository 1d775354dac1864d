"""What one script of the gallery must not leave to the next: Brian 2's clock, target and log."""

import brian2


def reset_brian(gallery_conf, script):
    """Start from Brian 2's defaults; sphinx-gallery calls this before every script."""
    brian2.start_scope()
    brian2.defaultclock.dt = 0.1 * brian2.ms
    brian2.prefs.codegen.target = "numpy"
    brian2.BrianLogger.suppress_hierarchy("brian2")
