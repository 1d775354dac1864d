"""
Your own recordings: from a SpikeMonitor to a classifier
========================================================

A `SpikeMonitor` of one long run is cut into trials, which become an archive; a classifier in scikit-learn's manner
learns them. Here a population tells three stimuli apart by which of its neurons fire first, not by how much they
fire.

Order of first spikes as a code: Gollisch & Meister (2008), doi:10.1126/science.1149639. The network: Koopman, Otte &
Bohté (2026), arXiv:2602.01978.
"""

from brian2 import *
from sklearn.metrics import ConfusionMatrixDisplay

from brian2grad import EventArchive, SpikingGammaClassifier

prefs.codegen.target = "numpy"
seed(4)
n_trials, length = 240, 100 * ms

# Every trial a stimulus: a pulse that reaches neuron after neuron, from the left, from the right or from the middle.
stimuli = np.random.default_rng(4).integers(0, 3, n_trials)
place = np.arange(20) / 19
lag = np.stack([place, 1 - place, 2 * abs(place - 0.5)])[stimuli] * 30 + 20  # (trial, neuron), ms
lags = TimedArray(lag * ms, dt=length)
neurons = NeuronGroup(
    20,
    """since = t % length - lags(t, i) : second
       rate = 8*Hz + 250*Hz*exp(-(since/(4*ms))**2/2) : Hz""",
    threshold="rand() < rate*dt",
)
monitor = SpikeMonitor(neurons)
defaultclock.dt = 0.5 * ms
run(n_trials * length)

trials = EventArchive.from_monitor(monitor, labels=stimuli, duration=length)
print(trials)
classifier = SpikingGammaClassifier(
    hidden=(32,), K=5, tau=10 * ms, buckets="synapse", theta=0.2, dt=2 * ms, epochs=20, batch_size=16
)
classifier.fit(trials[:160])
print(f"{classifier.score(trials[160:]):.0%} of 80 new trials right")

fig, (raster, matrix) = subplots(1, 2, figsize=(9, 3.4), layout="constrained")
shown = monitor.t < 3 * length
raster.plot(monitor.t[shown] / ms, monitor.i[shown], "|", ms=4)
for trial in range(3):
    raster.plot(100 * trial + lag[trial], np.arange(20), "C1", alpha=0.5)
raster.set(xlabel="Time (ms)", ylabel="Neuron", title="Three trials, and the pulse behind them")
names = ["left", "right", "middle"]
ConfusionMatrixDisplay.from_predictions(
    stimuli[160:], classifier.predict(trials[160:]), display_labels=names, ax=matrix, cmap="Blues", colorbar=False
)
matrix.set_title("80 new trials")
show()
