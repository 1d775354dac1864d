"""Augmentation on the time grid and before the encoder: what changes, what stays, what is refused."""

import numpy as np
import pytest
from brian2 import Hz, ms

from brian2grad.models import SpikingGammaNetwork, StepEvents
from brian2grad.training import EventArchive, TrainingError, TrainingOptions, make_task, train
from brian2grad.training.configuration import encoder, load_tasks
from brian2grad.training.data import AudioArchive, Cochlea, DataError, load, load_splits
from brian2grad.training.data.augment import vary_envelopes
from brian2grad.training.loop import _decay
from brian2grad.training.tasks import Task, augment


@pytest.fixture
def events():
    """40 samples of 20 steps, 10 channels with two fibres, some 200 events each."""
    rng = np.random.default_rng(0)
    samples = [(rng.integers(0, 20, 200), np.sort(rng.integers(0, 200, 200))) for _ in range(40)]
    archive = EventArchive.from_samples(samples, np.zeros(40, int), n_units=20, time_unit_us=1000)
    return make_task(archive, 10 * ms, 200 * ms).events


def rng():
    return np.random.default_rng(1)


def dense(events):
    return np.array([events.dense(k) for k in range(len(events))])


def test_without_options_nothing_is_copied(events):
    assert augment(events, rng()) is events


def test_channel_shift_moves_all_fibres_of_a_sample_alike(events):
    before, after = dense(events), dense(augment(events, rng(), channel_shift=3, fibres=2))
    found = set()
    for old, new in zip(before, after, strict=True):
        moves = []
        for shift in range(-3, 4):
            expected = np.zeros_like(old)
            to, of = slice(max(0, 2 * shift), 20 + min(0, 2 * shift)), slice(max(0, -2 * shift), 20 - max(0, 2 * shift))
            expected[:, to] = old[:, of]
            moves += [shift] if np.array_equal(expected, new) else []
        assert len(moves) == 1
        found.update(moves)
    assert found == set(range(-3, 4))


def test_channel_mask_silences_neighbours(events):
    before, after = dense(events), dense(augment(events, rng(), channel_mask=4, fibres=2))
    widths = []
    for old, new in zip(before, after, strict=True):
        silent = np.flatnonzero((new.sum(axis=0) == 0) & (old.sum(axis=0) > 0)) // 2
        assert silent.size == 0 or np.ptp(silent) + 1 == len(np.unique(silent))
        np.testing.assert_array_equal(np.delete(new, [*silent * 2, *silent * 2 + 1], axis=1),
                                      np.delete(old, [*silent * 2, *silent * 2 + 1], axis=1))  # fmt: skip
        widths.append(len(np.unique(silent)))
    assert set(widths) == {0, 1, 2, 3, 4}


def test_channels_need_whole_fibres(events):
    with pytest.raises(TrainingError, match="fibres = 3 does not divide the 20 units"):
        augment(events, rng(), channel_shift=1, fibres=3)


def test_time_shift_moves_whole_samples(events):
    before, after = dense(events), dense(augment(events, rng(), time_shift=2))
    for old, new in zip(before, after, strict=True):
        fits = []
        for shift in range(-2, 3):
            to, of = slice(max(0, shift), 20 + min(0, shift)), slice(max(0, -shift), 20 - max(0, shift))
            fits += [shift] if np.array_equal(new[to], old[of]) else []
        assert len(fits) == 1


def test_time_stretch_changes_durations_and_keeps_order_of_magnitude(events):
    short = augment(events, rng(), time_shift=0, time_stretch=0.5)
    before, after = dense(events), dense(short)
    # Played slower, the end is pushed out; played faster, nothing is lost and silence follows.
    assert (after.sum(axis=(1, 2)) <= before.sum(axis=(1, 2))).all()
    last = np.array([np.flatnonzero(sample.sum(axis=1))[-1] for sample in after])
    assert last.min() < 16
    assert last.max() == 19
    complete = last < 19
    np.testing.assert_array_equal(after[complete].sum(axis=1), before[complete].sum(axis=1))
    assert short.ptr[-1] == len(short.units) == len(short.values)
    rows = np.repeat(np.arange(len(short.ptr) - 1), np.diff(short.ptr))
    assert (np.diff(rows * 20 + short.units.astype(int)) > 0).all()  # units ascend within a step, none twice


def camera(side=24, n=20):
    """A vertical bar through the centre, 30 events per pixel and sample, in one polarity."""
    pixels = np.arange(4, 20) * side + side // 2
    samples = [(np.repeat(pixels, 30) + side * side, np.zeros(16 * 30, int)) for _ in range(n)]
    archive = EventArchive.from_samples(samples, np.zeros(n, int), n_units=2 * side * side, time_unit_us=1000)
    return make_task(archive, 10 * ms, 20 * ms).events


def length_and_slope(events, side=24):
    """Standard deviation of each sample's events in y, and their slope dx/dy."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    images = dense(events)[:, 0, side * side :].reshape(-1, side, side)
    weight = images / images.sum(axis=(1, 2), keepdims=True)
    square = (weight * y * y).sum(axis=(1, 2))
    return np.sqrt(square), (weight * x * y).sum(axis=(1, 2)) / square


def test_rotation_tilts_and_zoom_scales():
    bar = camera()
    length, slope = length_and_slope(bar)
    turned = augment(bar, rng(), rotate=20)
    slopes = length_and_slope(turned)[1] - slope
    assert 0.15 < np.abs(slopes).max() < np.tan(np.deg2rad(21))
    assert slopes.min() < 0 < slopes.max()
    lengths = length_and_slope(augment(bar, rng(), zoom=0.25))[0] / length
    assert 0.78 < lengths.min() < 0.9
    assert 1.1 < lengths.max() < 1.28
    assert turned.values.sum() == bar.values.sum()  # nothing left the camera; polarity and step are kept
    assert dense(turned)[:, 0, 576:].sum() == bar.values.sum()


def test_rotation_needs_a_camera(events):
    with pytest.raises(TrainingError, match="no square camera"):
        augment(events, rng(), rotate=5)


def test_level_changes_counts_by_sample(events):
    after = dense(augment(events, rng(), level=0.5))
    ratio = after.sum(axis=(1, 2)) / dense(events).sum(axis=(1, 2))
    assert 0.4 < ratio.min() < 0.7
    assert 1.3 < ratio.max() < 1.6
    np.testing.assert_array_equal(after, np.round(after))


def test_augmentation_is_reproducible(events):
    options = {"channel_shift": 2, "channel_mask": 2, "fibres": 2, "time_stretch": 0.2, "time_shift": 1, "level": 0.3}
    first, second = (augment(events, rng(), drop=0.1, **options) for _ in range(2))
    for name in ("ptr", "units", "values"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_options_reach_the_augmentation():
    options = TrainingOptions(channel_shift=2, fibres=3, time_stretch=0.1)
    assert options.augmentation()["channel_shift"] == 2
    assert options.augmentation()["fibres"] == 3
    assert options.augmentation()["shift"] == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"channel_shift": -1}, "channel_shift = -1 must not"),
        ({"rotate": -1}, "rotate = -1 must not"),
        ({"time_stretch": -0.1}, "time_stretch = -0.1 must not"),
        ({"weight_decay": -1}, "weight_decay = -1 must not"),
        ({"average": 1.0}, r"average = 1.0 must lie in \[0, 1\)"),
        ({"level": 1.0}, "level must lie"),
        ({"fibres": 0}, "fibres be at least 1"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(TrainingError, match=text):
        TrainingOptions(**options)


def test_steps_with_labels_are_not_moved(events):
    task = Task(events, np.zeros((40, 20), int), 200.0)
    with pytest.raises(TrainingError, match="part events from the labels"):
        next(train(None, task, TrainingOptions(time_stretch=0.1)))


def test_weight_decay_spares_other_parameters():
    network = SpikingGammaNetwork([4, 3, 2], train_tau=True)
    for value in network.parameters.values():
        value[:] = 1
    _decay(network.parameters, network.info, 0.25)
    found = {name.split(".")[1]: set(value.ravel().tolist()) for name, value in network.parameters.items()}
    assert found == {"w": {0.75}, "v": {1}, "b": {1}, "tau": {1}}


# -- before the encoder ------------------------------------------------------------------------------------------


def sounds(n=18):
    """Tones of two speakers in a quiet room, 0.1 s of silence on both sides."""
    rng = np.random.default_rng(2)
    waves = []
    for k in range(n):
        tone = np.sin(2 * np.pi * (400 + 300 * (k % 3)) * np.arange(1600) / 8000) * np.hanning(1600)
        waves.append(np.concatenate([np.zeros(800), 6000 * tone, np.zeros(800)]) + rng.normal(0, 3, 3200))
    return AudioArchive(
        np.concatenate(waves).astype(np.int16),
        np.arange(n + 1) * 3200,
        (np.arange(n) % 3).astype(np.uint8),
        np.array(["ann", "bob"])[np.arange(n) % 2],
        (np.arange(n) // 2).astype(np.uint8),
        8000,
        name="sounds",
    )


SMALL = {"n_channels": 8, "spikes": "sigma-delta", "adaptation": 0.5, "trim": 0.1}


def test_trim_lets_sounds_begin_at_once():
    whole = Cochlea(n_channels=8).encode(sounds(), cached=False)
    cut = Cochlea(n_channels=8, trim=0.1).encode(sounds(), cached=False)
    assert whole.times[whole.offsets[:-1]].min() > 80_000
    assert cut.times[cut.offsets[:-1]].max() < 50_000


def test_adaptation_takes_away_a_microphone():
    """A gain of 26 dB on the upper channels changes adapted envelopes much less than plain ones."""
    rng = np.random.default_rng(0)
    envelopes = rng.random((400, 8)) + 0.05
    coloured = envelopes * np.where(np.arange(8) < 4, 0.05, 1.0)
    changes = []
    for adaptation in (0.0, 0.8):
        cochlea = Cochlea(n_channels=8, adaptation=adaptation)
        plain, other = (cochlea._compressed(e / e.max()) for e in (envelopes, coloured))
        assert 0 <= plain.min() < plain.max() <= 1
        changes.append(np.abs(plain - other).mean())
    assert changes[1] < 0.6 * changes[0]


def test_silence_stays_silent():
    cochlea = Cochlea(**SMALL)
    assert not cochlea.envelopes(np.zeros(2000, np.int16), 8000).any()


def test_variants_differ_and_repeat():
    cochlea, audio = Cochlea(**SMALL), sounds()
    plain, first, again, second = (cochlea.encode(audio, cached=False, variant=v) for v in (0, 1, 1, 2))
    np.testing.assert_array_equal(first.times, again.times)
    for a, b in ((plain, first), (first, second)):
        assert len(a.times) != len(b.times) or (a.times != b.times).any()
    np.testing.assert_array_equal(first.labels, plain.labels)


def test_varied_envelopes_stay_in_range():
    envelopes = np.random.default_rng(0).random((50, 16))
    for seed in range(20):
        varied = vary_envelopes(envelopes, np.random.default_rng(seed), grain=7)
        assert varied.shape == envelopes.shape
        assert varied.min() >= 0
        assert varied.max() == 1


@pytest.mark.parametrize(
    "changed", [{"adaptation": 1.5}, {"adaptation": -0.1}, {"trim": 1.0}, {"floor": 0.0}, {"tau_adaptation": 1 * Hz}]
)
def test_bad_encoder_parameters(changed):
    with pytest.raises(DataError, match="cochlea: "):
        Cochlea(**changed)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    audio = sounds()
    np.savez(
        tmp_path / "fsdd_train.npz", pcm=audio.pcm, offsets=audio.offsets, labels=audio.labels,
        speaker=audio.speaker, take=audio.take, sample_rate=8000,
    )  # fmt: skip
    return tmp_path


def test_copies_are_added_to_training_only(root):
    cochlea = Cochlea(**SMALL)
    plain = load_splits("fsdd", root, held_out_speaker="bob", cochlea=cochlea)
    varied = load_splits("fsdd", root, held_out_speaker="bob", cochlea=cochlea, copies=2)
    assert [len(part) for part in plain] == [9, 9]
    assert [len(part) for part in varied] == [27, 9]
    assert set(varied[0].extra["speaker"]) == {"ann"}
    np.testing.assert_array_equal(varied[0][:9].times, plain[0].times)
    np.testing.assert_array_equal(varied[1].times, plain[1].times)
    path = root / "fsdd_train.npz"
    assert len(load(path, cochlea=cochlea, copies=1)) == 36
    assert len(load(path, split="validation", cochlea=cochlea, copies=1)) == 18


def test_copies_are_for_sounds(root):
    with pytest.raises(DataError, match="copies is for sounds"):
        load_splits("digits", root, copies=1)


def test_encoder_of_a_configuration(root):
    data = {"name": "fsdd", "dt_ms": 10.0, "duration_ms": 200.0, "copies": 1, "held_out_speaker": "bob"}
    config = {"data": {**data, "cochlea": {**SMALL, "tau_ms": 15.0, "f_max_hz": 3000.0, "thresholds": [0.05]}}}
    cochlea = encoder(config)
    assert (cochlea.tau, cochlea.f_max, cochlea.thresholds) == (15 * ms, 3000 * Hz, (0.05,))
    train, held_out = load_tasks(config, root)
    assert (len(train), len(held_out), train.events.n_units) == (18, 9, 8)
    config["data"]["cochlea"]["loudness"] = 3
    with pytest.raises(TrainingError, match=r"data.cochlea"):
        encoder(config)


def test_a_camera_is_shifted_in_all_directions():
    """One pixel of 10 x 10, both polarities, 400 samples: all 25 places of shift 2, each about equally often."""
    side, n = 10, 400
    counts = np.zeros((n, 1, 2 * side * side))
    here = [p * side * side + 5 * side + 4 for p in (0, 1)]
    counts[:, 0, here] = 1
    after = augment(StepEvents.from_dense(counts, 1e-3), np.random.default_rng(1), shift=2)
    moves = np.zeros((5, 5), int)
    for sample in range(n):
        units = np.flatnonzero(after.dense(sample)[0])
        polarity, place = np.divmod(units, side * side)
        assert polarity.tolist() == [0, 1]
        assert place[0] == place[1]
        y, x = divmod(int(place[0]), side)
        moves[y - 5 + 2, x - 4 + 2] += 1
    assert moves.sum() == n
    assert moves.min() >= 4  # 16 expected
