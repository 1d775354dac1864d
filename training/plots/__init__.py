"""Pictures of runs and samples."""
