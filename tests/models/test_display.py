"""Models, networks, results and archives say in one look what they are, as text and as a table."""

import re

import numpy as np
import pytest
from brian2 import ms

from brian2grad import EventArchive, lif, make_task, spiking_gamma

ARCHIVE = EventArchive.from_samples([([0, 1, 5], [0, 1, 9])] * 4, np.arange(4) % 2, n_units=6, time_unit_us=1000)


@pytest.fixture
def shown(random_network, random_events):
    """One object of every kind."""
    network, events = random_network(), random_events()
    return {
        "NeuronModel": lif(10 * ms),
        "SpikingGammaModel": spiking_gamma(3, 30 * ms, 0.1),
        "SpikingGammaNetwork": network,
        "StepEvents": events,
        "EngineResult": network.forward(events),
        "EventArchive": ARCHIVE,
        "Task": make_task(ARCHIVE, 1 * ms),
    }


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("NeuronModel", ["dv/dt = -v/(10*ms) : 1", "threshold  v > 1.0", "reset      v = 0"]),
        ("SpikingGammaModel", ["dyhat/dt", "Koopman"]),
        ("SpikingGammaNetwork", ["6, 5, 3", "0.03, 0.03, 0.03 s", "layer1.w: (6, 5)", "dyhat/dt = -yhat/(30*ms)"]),
        ("StepEvents", ["n_units    6", "uint16"]),
        ("EngineResult", ["(3, 20, 3)"]),
        ("EventArchive", ["samples   4", "12 (3.0 per sample)", "10. ms"]),
        ("Task", ["int64 (4,)", "StepEvents"]),
    ],
)
def test_one_look(kind, seen, shown):
    text = repr(shown[kind])
    assert text.startswith(f"{kind}\n")
    assert len(text.splitlines()) < 60
    for piece in seen:
        assert piece in text
    html = shown[kind]._repr_html_()
    assert html.startswith(f"<table><caption>{kind}</caption>")
    assert not re.search(r"<(?!/?(table|caption|tr|th|td|pre)\b)", html)  # what is shown is escaped
