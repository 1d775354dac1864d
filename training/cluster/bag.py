"""A bag of runs: independent calls whose results are kept as they come, so that nothing finished is done again."""

from __future__ import annotations

import json
from pathlib import Path

from ...models.files import write_file
from ..errors import TrainingError


def completed(futures):
    """Futures as they are done; of none, none: dask would ask for its client."""
    from distributed import as_completed

    return as_completed(futures) if futures else ()


def run_bag(client, function, items: dict[str, tuple], folder, on_done=None) -> dict[str, dict]:
    """Call a function for every item that has no result yet.

    Parameters
    ----------
    client : distributed.Client
    function : callable
        Of the arguments of an item; returns what JSON can hold. Importable by the workers, and to be called again for
        an item whose worker died.
    items : dict of str to tuple
        Arguments by name; the name is that of the result's file.
    folder : path
        Of the results, one ``NAME.json`` each, written whole. A later call skips what is there.
    on_done : callable, optional
        Called with name and result, or the exception that was raised; the others go on.

    Returns
    -------
    dict of str to object
        Results by name; of an item that failed its exception.

    Raises
    ------
    TrainingError
        If a name is no name of a file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in items:
        if "/" in name or name.startswith("."):
            raise TrainingError(f"'{name}' is no name of a file; name the items of a bag by plain words.")
        path = folder / f"{name}.json"
        if path.exists():
            found[name] = json.loads(path.read_text())
    missing = [name for name in items if name not in found]
    futures = {client.submit(function, *items[name], pure=False): name for name in missing}
    for future in completed(futures):
        name, error = futures[future], future.exception()
        found[name] = error if error is not None else future.result()
        if error is None:
            write_file(folder / f"{name}.json", json.dumps(found[name]).encode())
        if on_done:
            on_done(name, found[name])
    return {name: found[name] for name in items}
