"""A sweep on a SLURM cluster: workers as jobs of the queue, through dask-jobqueue.

    pip install 'brian2grad[dask]' dask-jobqueue
    python slurm.py

Run it where jobs can be submitted. The folder of the sweep lies on a file system that all nodes see. When this script
or a job is stopped, start it again: finished runs stay, the others go on at their last epoch. With a scheduler that
runs already, `brian2grad sweep ... --cluster tcp://HOST:8786` does the same.
"""

from dask_jobqueue import SLURMCluster

from brian2grad.training.cli.main import main

cluster = SLURMCluster(
    queue="normal",
    cores=8,
    processes=8,  # one thread each: the workers are the cores
    memory="16GB",
    walltime="04:00:00",
    job_script_prologue=["export OMP_NUM_THREADS=1", "export BRIAN2GRAD_DATA=/shared/data"],
)
cluster.adapt(minimum_jobs=1, maximum_jobs=20)
training = "train gamma --data nmnist8 --epochs 20 --threads 1"
main(
    ["sweep", training, "--grid", "seed=0,1,2,3,4", "--grid", "theta=0.5,1.0,2.0", "--out", "/shared/sweep"]
    + ["--cluster", cluster.scheduler_address]
)
