"""The classifiers do what scikit-learn's own tools expect of them, on event archives."""

import pickle

import numpy as np
import pytest
from brian2 import ms
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from brian2grad import AsynchronousClassifier, SpikingGammaClassifier, load
from brian2grad.training import EventArchive, TrainingError

GAMMA = SpikingGammaClassifier((16,), epochs=6, batch_size=8, learning_rate=5e-3, seed=1, threads=1)
ASYNC = AsynchronousClassifier((16,), epochs=6, batch_size=16, learning_rate=1e-2, warmup=0, seed=1, threads=1)
BOTH = pytest.mark.parametrize("classifier", [GAMMA, ASYNC], ids=["gamma", "async"])


@pytest.fixture(scope="module")
def digits():
    """Two classes of the embedded digits."""
    archive = load("digits")
    return archive[np.flatnonzero(archive.labels < 2)[:90]]


@BOTH
def test_fit_predict_score(classifier, digits):
    fitted = clone(classifier).fit(digits[:60])
    assert fitted.score(digits[60:]) > 0.8
    shares = fitted.predict_proba(digits[60:])
    assert shares.shape == (30, 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(fitted.classes_[shares.argmax(axis=1)], fitted.predict(digits[60:]))
    assert len(fitted.history_) == classifier.epochs
    assert "16" in repr(fitted)


@BOTH
def test_classes_of_any_type(classifier, digits):
    names = np.array(["zero", "one"])[digits.labels]
    fitted = clone(classifier).fit(digits, names)
    assert set(fitted.predict(digits)) <= {"zero", "one"}
    assert fitted.score(digits, names) > 0.8


@BOTH
def test_pickle_after_fit(classifier, digits):
    fitted = clone(classifier).fit(digits)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(digits), fitted.predict_proba(digits))


@BOTH
def test_parameters_are_only_stored(classifier):
    copy = clone(classifier)
    assert copy is not classifier
    assert str(copy.get_params()) == str(classifier.get_params())
    changed = clone(classifier).set_params(epochs=1, dt=5 * ms, hidden=(3,))
    assert (changed.epochs, changed.dt, changed.hidden) == (1, 5 * ms, (3,))


@BOTH
def test_cross_validation(classifier, digits):
    assert cross_val_score(classifier, digits, digits.labels, cv=2).mean() > 0.7
    assert cross_val_score(clone(classifier).set_params(epochs=1), digits, cv=2).shape == (2,)


def test_grid_search_and_pipeline(digits):
    pipeline = Pipeline([("half", FunctionTransformer(lambda archive: archive)), ("classifier", GAMMA)])
    search = GridSearchCV(pipeline, {"classifier__theta": [0.3, 50.0]}, cv=2)
    search.fit(digits, digits.labels)
    assert search.best_params_ == {"classifier__theta": 0.3}
    assert search.score(digits, digits.labels) > 0.7


def test_archives_are_split_like_arrays(digits):
    train, held_out = train_test_split(digits, test_size=30, stratify=digits.labels, random_state=0)
    assert isinstance(train, EventArchive)
    assert (len(train), len(held_out)) == (60, 30)
    assert train.shape == (60, digits.n_units)
    assert abs(held_out.labels.mean() - digits.labels.mean()) < 0.02


@pytest.mark.parametrize(
    ("X", "y", "text"),
    [
        (np.zeros((3, 4)), None, "X is of type ndarray; give an EventArchive"),
        ("digits", [0, 1], r"y has shape \(2,\), expected \(90,\)"),
    ],
)
def test_refusals(X, y, text, digits):
    with pytest.raises(TrainingError, match=text):
        clone(GAMMA).fit(digits if isinstance(X, str) else X, y)
    with pytest.raises(TrainingError, match="X is of type list"):
        clone(GAMMA).set_params(epochs=1).fit(digits).predict([1])
    other = EventArchive.from_samples([([0], [0])], [0], n_units=3, time_unit_us=1000)
    with pytest.raises(TrainingError, match="X has 3 units; the classifier was fitted on 1152"):
        clone(GAMMA).set_params(epochs=1).fit(digits).predict(other)
