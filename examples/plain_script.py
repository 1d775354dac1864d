"""
A trained network as a script that needs only Brian 2
=====================================================

What was trained is written as equations and synapses, with the weights in a file beside them: for colleagues who have
Brian 2 and nothing else. The script is run in a process of its own, and answers as the network does.

SpikingGamma networks: Koopman, Otte & Bohté (2026), arXiv:2602.01978.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from brian2 import *

from brian2grad import SpikingGammaNetwork, TrainingOptions, bin_events, load_splits, make_task, train
from brian2grad.models.gamma.brian.script import write_script

archive, held_out = load_splits("digits")
digits = make_task(archive, 10 * ms, limit=800)
network = SpikingGammaNetwork([digits.events.n_units, 48, 10], K=4, tau=30 * ms, theta=0.5, dt=10 * ms, seed=1)
for epoch in train(network, digits, TrainingOptions(epochs=4, batch_size=32, learning_rate=4e-3)):
    print(f"epoch {epoch['epoch']}: loss {epoch['loss']:.3f}")

folder = Path(tempfile.mkdtemp())
script, weights = write_script(network, folder / "trained_network.py", digits.events.n_steps)
held_out[:5].save(folder / "five_digits.npz")
print("".join(script.read_text().splitlines(keepends=True)[13:17]))
command = [sys.executable, str(script), str(folder / "five_digits.npz"), "0"]
answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
print(answer)
sample = bin_events(held_out[0], network.dt, digits.events.n_steps)
same = f"decision: {network.predict(sample)[0]} " in answer
print(f"digit {held_out.labels[0]}, the script answers {'the same' if same else 'NOT the same'} as the network")

with np.load(weights) as values:
    by_layer = {name: values[name] for name in values.files if name.endswith("_w")}
fig, axes = subplots(1, len(by_layer), figsize=(8, 3), layout="constrained")
for ax, (name, w) in zip(axes, by_layer.items(), strict=True):
    ax.hist(w.ravel(), bins=60)
    ax.set(xlabel="Weight", ylabel="Synapses", title=f"{name} in {weights.name}", yscale="log")
show()
