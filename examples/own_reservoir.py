"""
A readout over your own Brian 2 network
=======================================

A network of a thousand excitatory and inhibitory neurons, written in Brian 2 and not trained, is shaken by one of two
stimuli. A `SpikeMonitor` becomes an archive, and a readout with gamma memories learns from the recorded spikes which
stimulus it was; nothing of the network itself is changed.

Liquid state machine: Maass, Natschläger & Markram (2002), doi:10.1162/089976602760407955. The network: Brunel (2000),
doi:10.1023/A:1008925309027. The readout: Koopman, Otte & Bohté (2026), arXiv:2602.01978.
"""

from brian2 import *

from brian2grad import EventArchive, SpikingGammaNetwork, TrainingOptions, make_task, train

prefs.codegen.target = "numpy"
seed(2)
rng = np.random.default_rng(2)
n_trials, length = 160, 150 * ms
defaultclock.dt = 0.5 * ms

# The network is your own: any equations will do.
neurons = NeuronGroup(
    1000, "dv/dt = (-v + 14*mV + kick)/(20*ms) : volt (unless refractory)\nkick = kicks(t, i % 10) : volt",
    threshold="v > 20*mV", reset="v = 10*mV", refractory=2 * ms,
)  # fmt: skip
noise = PoissonInput(neurons, "v", 200, 12 * Hz, weight=0.1 * mV)
neurons.v = "10*mV + 10*mV*rand()"
recurrent = Synapses(neurons, neurons, "w : volt", on_pre="v_post += w", delay=1.5 * ms)
recurrent.connect(p=0.05)
recurrent.w = "int(i < 800)*0.1*mV - int(i >= 800)*0.5*mV"

# Two stimuli: the ten groups of neurons are kicked for 10 ms each, upwards or downwards in turn.
stimuli = rng.integers(0, 2, n_trials)
kicks_now = np.zeros((n_trials * 15, 10))
for trial, stimulus in enumerate(stimuli):
    kicks_now[15 * trial + np.arange(10), np.arange(10)[:: 1 if stimulus else -1]] = 5
kicks = TimedArray(kicks_now * mV, dt=10 * ms)
monitor = SpikeMonitor(neurons[:200])  # a fifth of it is recorded
run(n_trials * length)
print(f"{monitor.num_spikes / 200 / (n_trials * length):.1f} spikes per neuron")

trials = EventArchive.from_monitor(monitor, labels=stimuli, duration=length)
learned, held_out = make_task(trials[:120], 5 * ms, length), make_task(trials[120:], 5 * ms, length)
readout = SpikingGammaNetwork(
    [200, 2], K=6, tau=15 * ms, dt=5 * ms, buckets="synapse", read_from=120 * ms, seed=1
)  # no hidden layer: a linear readout of all buckets
options = TrainingOptions(epochs=10, batch_size=10, learning_rate=1e-3)
right = [epoch["validation_accuracy"] for epoch in train(readout, learned, options, validation=held_out)]
print(f"{right[-1]:.0%} of 40 new trials right")

fig, (raster, course) = subplots(1, 2, figsize=(9, 3.4), layout="constrained", width_ratios=(2, 1))
shown = monitor.t < 2 * length
raster.plot(monitor.t[shown] / ms, monitor.i[shown], ".k", ms=1.5)
raster.set(xlabel="Time (ms)", ylabel="Neuron", title=f"Stimuli {stimuli[0]} and {stimuli[1]}")
course.plot(range(1, 11), 100 * np.array(right), "o-")
course.set(xlabel="Epoch", ylabel="New trials right (%)")
show()
