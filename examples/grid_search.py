"""
Which memory? A grid search with scikit-learn
=============================================

`SpikingGammaClassifier` has scikit-learn's verbs, so that everything that searches, splits and scores works with it:
here `GridSearchCV` asks how many buckets a neuron needs and how far apart they should be, three times with a third of
the recordings held out.

The data: three chirps of spikes that differ in their tempo only. SpikingGamma networks: Koopman, Otte & Bohté (2026),
arXiv:2602.01978.
"""

from brian2 import *
from sklearn.model_selection import GridSearchCV

from brian2grad import EventArchive, SpikingGammaClassifier

rng = np.random.default_rng(3)


def chirp(tempo):
    """Twelve pulses of three units each, 4, 6 or 9 ms apart, with jitter, in 120 ms."""
    times = 10 + np.arange(12) * (4, 6, 9)[tempo] + rng.normal(0, 0.7, (3, 12))
    units, order = np.repeat(np.arange(3), 12), np.argsort(times.ravel(), kind="stable")
    return units[order], np.clip(times.ravel()[order], 0, 119).astype(int)


labels = rng.integers(0, 3, 150)
recordings = EventArchive.from_samples([chirp(k) for k in labels], labels, n_units=3, time_unit_us=1000)

classifier = SpikingGammaClassifier(
    hidden=(16,), theta=0.2, buckets="synapse", dt=2 * ms, read_from=60 * ms, epochs=10, batch_size=10,
    learning_rate=1e-2,
)  # fmt: skip
grid = {"K": [1, 2, 4, 8], "tau": [2 * ms, 5 * ms, 15 * ms]}
search = GridSearchCV(classifier, grid, cv=3).fit(recordings, labels)
print(f"best: K = {search.best_params_['K']}, tau = {search.best_params_['tau']}: {search.best_score_:.0%} right")

score = search.cv_results_["mean_test_score"].reshape(len(grid["K"]), len(grid["tau"]))
fig, ax = subplots(figsize=(5, 3.6), layout="constrained")
image = ax.imshow(100 * score, cmap="viridis", aspect="auto", vmin=33, vmax=100)
for (row, column), value in np.ndenumerate(score):
    ax.text(column, row, f"{value:.0%}", ha="center", va="center", color="black" if value > 0.7 else "white")
ax.set(xlabel="tau (ms)", ylabel="Buckets K", yticks=range(4), yticklabels=grid["K"])
ax.set_xticks(range(3), [f"{tau / ms:g}" for tau in grid["tau"]])
fig.colorbar(image, label="Right, cross-validated (%)")
show()
