"""Audio archives and the cochlear encoder."""

import dataclasses

import numpy as np
import pytest
from brian2 import Hz, ms, second

from brian2grad.training.data import AudioArchive, Cochlea, DataError, read_audio

RATE = 8000
TONES = (300, 1000, 2500)


def fields(**changed):
    """Return the fields of three tones of 0.2, 0.1 and 0.3 s that fade in and out."""
    waves = []
    for frequency, length in zip(TONES, (1600, 800, 2400), strict=True):
        wave = np.sin(2 * np.pi * frequency * np.arange(length) / RATE) * np.hanning(length)
        waves.append((8000 * wave).astype(np.int16))
    base = {
        "pcm": np.concatenate(waves),
        "offsets": np.array([0, 1600, 2400, 4800], np.int64),
        "labels": np.array([0, 1, 2], np.uint8),
        "speaker": np.array(["ann", "bob", "ann"]),
        "take": np.array([5, 6, 7], np.uint8),
        "sample_rate": RATE,
    }
    return {**base, **changed}


@pytest.fixture
def tones():
    return AudioArchive(**fields())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pcm": np.zeros(4800)}, "'pcm' has dtype float64; store it as int16"),
        ({"pcm": np.zeros(4700, np.int16)}, r"'offsets' ends at 4800 \(index 3\), but 'pcm' has 4700"),
        (
            {"offsets": np.array([0, 2400, 1600, 4800])},
            "'offsets' isn't monotonic: 1600 after 2400 at index 2",
        ),
        ({"offsets": np.array([0, 1600, 1600, 4800])}, "'offsets' describes an empty recording at index 1"),
        ({"labels": np.array([0, 1, -1])}, "'labels' is -1 at index 2; 0 to 255 fit"),
        ({"pcm": np.full(4800, 40000)}, "'pcm' is 40000 at index 0; -32768 to 32767 fit"),
        ({"labels": np.zeros(2, np.uint8)}, "'labels' has 2 entries, but 'offsets' describes 3"),
        ({"speaker": np.zeros(3)}, "'speaker' has dtype float64"),
        ({"take": np.zeros(3)}, "'take' has dtype float64"),
        ({"sample_rate": 0}, "'sample_rate' is 0(.0)?; 1 to 10000000 fit"),
    ],
)
def test_malformed_audio_is_refused(tmp_path, changed, message):
    np.savez(tmp_path / "bad.npz", **fields(**changed))
    with pytest.raises(DataError, match=r"bad\.npz: field " + message):
        read_audio(tmp_path / "bad.npz")


def test_missing_audio_field_is_refused(tmp_path):
    content = fields()
    del content["take"]
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(DataError, match="field 'take' is missing; an audio archive needs sample_rate, pcm"):
        read_audio(tmp_path / "bad.npz")


def test_audio_is_read_and_cut(tmp_path, tones):
    np.savez(tmp_path / "tones.npz", **fields())
    audio = read_audio(tmp_path / "tones.npz")
    assert (audio.name, len(audio), audio.sha256) == ("tones", 3, tones.sha256)
    part = audio[[2, 0]]
    np.testing.assert_array_equal(part.take, [7, 5])
    np.testing.assert_array_equal(part.recording(1), audio.recording(0))
    np.testing.assert_array_equal(audio[1].pcm, audio.recording(1))


def test_centre_frequencies_follow_the_erb_scale():
    centres = np.asarray(Cochlea(n_channels=16).centre_frequencies)
    assert centres[0] == pytest.approx(100)
    assert centres[-1] == pytest.approx(3600)
    erb_number = 21.4 * np.log10(1 + 0.00437 * centres)  # Glasberg and Moore (1990), another form
    np.testing.assert_allclose(np.diff(erb_number), np.diff(erb_number).mean(), rtol=1e-3)


@pytest.mark.parametrize("spikes", ["hair-cell", "sigma-delta"])
def test_tone_excites_the_channel_of_its_frequency(tones, spikes):
    cochlea = Cochlea(n_channels=32, spikes=spikes)
    archive = cochlea.encode(tones, cached=False)
    assert archive.n_units == cochlea.n_units
    centres = np.asarray(cochlea.centre_frequencies)
    for k, frequency in enumerate(TONES):
        one = archive[k]
        channel = np.bincount(one.units // cochlea.n_fibres, minlength=32)
        centre = centres[channel == channel.max()].mean()
        assert frequency / 1.35 < centre < frequency * 1.35
        assert one.duration <= np.diff(tones.offsets)[k] / RATE * second
    np.testing.assert_array_equal(archive.extra["speaker"], tones.speaker)
    np.testing.assert_array_equal(archive.extra["take"], tones.take)


@pytest.mark.parametrize("spikes", ["hair-cell", "sigma-delta"])
def test_encoding_depends_on_neither_loudness_nor_company(tones, spikes):
    cochlea = Cochlea(n_channels=8, spikes=spikes)
    together = cochlea.encode(tones, cached=False)
    doubled = dataclasses.replace(tones, pcm=tones.pcm * np.int16(2))
    assert cochlea.encode(doubled, cached=False).sha256 == together.sha256
    for k in range(3):
        alone = cochlea.encode(tones[k], cached=False)
        np.testing.assert_array_equal(alone.times, together[k].times)
        np.testing.assert_array_equal(alone.units, together[k].units)


def test_higher_threshold_gives_fewer_spikes(tones):
    archive = Cochlea(n_channels=8, thresholds=(0.2, 0.6)).encode(tones, cached=False)
    low, high = np.bincount(archive.units % 2)
    assert 0 < high < low


def test_sigma_delta_estimate_follows_the_envelope(tones):
    theta, tau = 0.05, 20 * ms
    cochlea = Cochlea(n_channels=8, spikes="sigma-delta", thresholds=(theta,), tau=tau)
    envelope = cochlea.envelopes(tones.recording(2), RATE)
    archive = cochlea.encode(tones, cached=False)[2]
    t = np.arange(len(envelope)) * float(cochlea.step)
    since = t[:, None] - archive.times * 1e-6
    kernel = np.where(since >= 0, 2 * theta * np.exp(-np.maximum(since, 0) / float(tau)), 0)
    estimate = kernel @ np.eye(8)[archive.units]
    error = (envelope - estimate)[:, envelope.max(axis=0) > 0.5]
    rising = np.diff(envelope[:, envelope.max(axis=0) > 0.5], axis=0) > 0
    assert np.abs(error[1:][rising]).max() < 1.5 * theta


def test_silence_gives_no_spikes():
    silent = AudioArchive(**fields(pcm=np.zeros(4800, np.int16)))
    archive = Cochlea(n_channels=4).encode(silent, cached=False)
    assert (len(archive), len(archive.units)) == (3, 0)


def test_encoded_archive_is_cached_by_content(tones, tmp_path, monkeypatch):
    monkeypatch.delenv("BRIAN2GRAD_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cochlea = Cochlea(n_channels=4)
    first = cochlea.encode(tones)
    assert len(list((tmp_path / "brian2grad" / "data").iterdir())) == 1
    assert cochlea.encode(tones).sha256 == first.sha256
    np.testing.assert_array_equal(cochlea.encode(tones).extra["speaker"], tones.speaker)
    Cochlea(n_channels=4, tau=11 * ms).encode(tones)
    cochlea.encode(tones[:2])
    assert len(list((tmp_path / "brian2grad" / "data").iterdir())) == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"f_min": 100}, "f_min = 100 must be positive, in units of Hz"),
        ({"tau": -1 * ms}, "tau = -1. ms must be positive"),
        ({"f_min": 4000 * Hz}, "f_min below f_max"),
        ({"spikes": "poisson"}, "spikes = 'poisson' is unknown; use 'hair-cell'"),
        ({"thresholds": ()}, r"thresholds = \(\) must be positive"),
        ({"spikes": "sigma-delta", "thresholds": (0.1, 0.2)}, "has one threshold"),
        ({"compression": 0}, "compression = 0 must be above 0"),
        ({"version": 2}, "version 2 is unknown"),
    ],
)
def test_wrong_parameters_are_refused(changed, message):
    with pytest.raises(DataError, match=message):
        Cochlea(**changed)


def test_filter_above_half_the_sample_rate_is_refused(tones):
    with pytest.raises(DataError, match="f_max = .* must be below half the sample rate"):
        Cochlea(f_max=5000 * Hz).encode(tones, cached=False)


def test_batches_follow_memory_and_do_not_change_the_spikes(tones, monkeypatch):
    cochlea = Cochlea(n_channels=8)
    together = cochlea.encode(tones, cached=False)
    monkeypatch.setattr("brian2grad.training.data.cochlea.VALUES", 1)
    monkeypatch.setattr("brian2grad.training.data.cochlea.BATCH", 2)
    assert [len(b) for b in cochlea._batches(np.arange(3), np.array([9.0, 8.0, 7.0]), "")] == [1, 1, 1]
    assert cochlea.encode(tones, cached=False).sha256 == together.sha256


def test_a_sound_too_long_to_be_encoded_is_refused():
    long = fields(pcm=np.zeros(61 * RATE, np.int16), offsets=[0, 1, 2, 61 * RATE])
    audio = AudioArchive(**{**long, "offsets": np.array(long["offsets"])}, name="slow")
    with pytest.raises(DataError, match="slow: recording 2 takes 61 s; cut it into parts of at most 60 s"):
        Cochlea().encode(audio, cached=False)
