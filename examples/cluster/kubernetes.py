"""A training whose gradients are shared among pods of a Kubernetes cluster, through the Dask operator.

    helm install --repo https://helm.dask.org -n dask-operator --create-namespace dask dask-kubernetes-operator
    pip install 'brian2grad[dask]' dask-kubernetes
    python kubernetes.py

`image` holds Python, a C++ compiler and 'brian2grad[dask]', the same version as here. Data and run stay on this
machine: the data are sent to the workers once.
"""

from dask_kubernetes.operator import KubeCluster

from brian2grad.training.cli.main import main

with KubeCluster(
    name="brian2grad",
    image="registry.example.org/brian2grad:0.1.0",
    n_workers=8,
    resources={"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "4Gi"}},
    worker_command=["dask", "worker", "--nthreads", "1"],
    env={"OMP_NUM_THREADS": "1"},
) as cluster:
    training = ["train", "gamma", "--data", "nmnist8", "--epochs", "20", "--out", "runs/shared"]
    main([*training, "--cluster", cluster.scheduler_address])
