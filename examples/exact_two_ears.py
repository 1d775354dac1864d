"""
Five detectors find where a sound comes from
============================================

The delays of two ears are trained by their exact gradient. The coincidence detectors of Jeffress (1948), whose delay
lines were given; here every detector finds its own. Delay gradients as in Mészáros, Knight and Nowotny (2025).
"""

from brian2 import *

from brian2grad import Adam, HybridProblem, MaxCrossEntropy
from brian2grad.models.hybrid.samples import SampleSpikes
from brian2grad.training.exact.losses import RunResult

prefs.codegen.target = "numpy"
differences = np.array([-0.6, -0.3, 0, 0.3, 0.6]) * ms  # the right ear hears it later by this
n = len(differences)
tau = 0.2 * ms

ears = SpikeGeneratorGroup(2, [0, 1], [2, 2] * ms, name="ears")
detectors = NeuronGroup(n, "dv/dt = (I - v)/tau : 1\ndI/dt = -I/tau : 1", name="detectors")
lines = Synapses(ears, detectors, on_pre="I_post += 1", name="lines")
lines.connect()
rng = np.random.default_rng(3)
lines.delay = rng.uniform(0.8, 1.2, 2 * n) * ms

loss = MaxCrossEntropy("v", detectors, scale=0.02)  # the detector with the highest peak answers
problem = HybridProblem([ears, detectors, lines], loss, [(lines, "delay")], 6 * ms)
key = problem.keys[0]


def sounds(count):
    """Spikes of both ears and the place of every sound, which comes with a jitter of 40 us."""
    place = rng.integers(0, n, count)
    later = np.stack([0 * place, (differences / ms)[place]], 1) + 0.04 * rng.standard_normal((count, 2))
    return {"ears": SampleSpikes.of([([0, 1], (2 + t) * 1e-3) for t in later]), "place": place}


def judged(batch, delays):
    outcome = problem.compiled.run({key: delays}, {"ears": batch["ears"]})
    accuracy = np.mean(outcome.maxima["detectors"].argmax(1) == batch["place"])
    return outcome, problem.judge(RunResult.of_outcome(outcome), batch["place"]), accuracy


test, delays, adam = sounds(200), np.array(lines.delay / second), Adam(0.02)
print(f"before {judged(test, delays)[2]:.0%} right")
course = []
for _ in range(150):
    batch = sounds(20)
    outcome, partials, _ = judged(batch, delays)
    gradient = outcome.backward(maxima=partials.maxima)[key]
    in_ms = {"delay": delays * 1e3}
    adam.step(in_ms, {"delay": gradient * 1e-3 / 20})
    delays = np.maximum(in_ms["delay"] * 1e-3, 0)
    course.append(np.subtract(*delays.reshape(2, n)) * 1e3)
accuracy = judged(test, delays)[2]
left, right = delays.reshape(2, n) * 1e3
print(f"after {accuracy:.0%} right")
print("left minus right delay", (left - right).round(2), "ms, for differences of", differences / ms)

figure(layout="constrained")
for k, difference in enumerate(differences / ms):
    plot(np.array(course)[:, k], f"C{k}", label=f"detector {k}")
    axhline(difference, color=f"C{k}", ls=":")
xlabel("Update")
ylabel("Left minus right delay (ms); dotted: the sounds")
legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
show()
