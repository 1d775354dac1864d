"""Beyond one process: gradients, evaluation and bags of runs on a dask.distributed cluster."""
