from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("keras") is None:
    pytest.skip("the extra 'deep' is not installed", allow_module_level=True)

from daogou.contract import Run
from daogou.errors import TrainingError
from daogou.networks import loop, weights
from daogou.networks.backend import Inference, keras

SLOPE = np.array([[2.0], [-1.0], [0.5]], np.float32)


def line():
    """A model whose output is the squared error of a line with dropout on its input."""
    k = keras(1)
    k.utils.set_random_seed(0)

    class Line(k.Model):
        def __init__(self):
            super().__init__(name="objective")
            self.dense, self.drop = k.layers.Dense(1, name="dense"), k.layers.Dropout(0.1, name="drop")

        def call(self, x, y, training=False):
            return k.ops.mean((self.dense(self.drop(x, training=training)) - y) ** 2)

        def build(self, *shapes):
            pass

    model = Line()
    model(np.zeros((8, 3), np.float32), np.zeros((8, 1), np.float32))
    return model


def batches(rng):
    for _ in range(5):
        x = rng.standard_normal((8, 3)).astype(np.float32)
        yield x, x @ SLOPE


def train(model, run=Run(), validate=None, data=batches, of="f" * 64, **settings):
    config = loop.LoopConfig(**{"epochs": 6, "learning_rate": 0.05, "warmup_steps": 3, **settings})
    return loop.fit(model, data, 5, config, run, validate=validate, what="line", of=of)


def same(a, b):
    a, b = weights.read(a), weights.read(b)
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_it_learns():
    model = line()
    train(model, epochs=40)
    np.testing.assert_allclose(next(v for k, v in weights.read(model).items() if k.endswith("kernel")), SLOPE, atol=0.3)


def test_without_validation_the_last_weights_stay():
    one, two = line(), line()
    assert train(one, epochs=2).figures == []
    train(two, epochs=2, validate=iter([0.0, 1.0]).__next__)
    assert same(one, two)


def test_who_watches_is_told_every_figure_and_may_end_it():
    told = []

    def watch(figure):
        told.append(figure)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(line(), run=Run(watch=watch), epochs=20, validate=iter([0.1, 0.2, 0.15, 0.3]).__next__)
    assert told == [0.1, 0.2, 0.15]


def test_it_stops_early_and_keeps_the_best_weights():
    model, short, figures = line(), line(), iter([0.1, 0.5, 0.4, 0.3, 0.9])
    seen = []

    def validate():
        seen.append(weights.read(model))
        return next(figures)

    state = train(model, epochs=20, patience=2, validate=validate)
    assert (state.epoch, state.figures) == (4, [0.1, 0.5, 0.4, 0.3])
    assert all(np.array_equal(value, weights.read(model)[key]) for key, value in seen[1].items())
    assert not same(model, short)


@pytest.mark.parametrize("stop_at", [1, 13, 27])
def test_a_killed_fit_goes_on_as_if_it_had_not_been(tmp_path, stop_at):
    told = []

    def interrupt(step, done, total):
        told.append(step)
        if len(told) == stop_at:
            raise KeyboardInterrupt

    unbroken, killed, resumed = line(), line(), line()
    train(unbroken, Run(seed=3))
    with pytest.raises(KeyboardInterrupt):
        train(killed, Run(seed=3, checkpoint=tmp_path, progress=interrupt))
    again = []
    train(resumed, Run(seed=3, checkpoint=tmp_path, progress=lambda *step: again.append(step)))
    assert same(unbroken, resumed)
    assert len(again) == 30 - 5 * ((stop_at - 1) // 5), "whole epochs that were done are not done again"


def test_a_finished_fit_is_not_done_again(tmp_path):
    first, second, told = line(), line(), []
    train(first, Run(checkpoint=tmp_path))
    train(second, Run(checkpoint=tmp_path, progress=lambda *step: told.append(step)))
    assert same(first, second) and not told


@pytest.mark.parametrize("name", ["now.safetensors", "best.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", [b"", b"half of wh", None])
def test_a_damaged_checkpoint_begins_anew(tmp_path, name, damage):
    """As a power cut may leave one."""
    first, second = line(), line()
    train(first, Run(seed=3, checkpoint=tmp_path))
    (file,) = tmp_path.glob(f"*/epoch-*/{name}")
    file.unlink() if damage is None else file.write_bytes(damage)
    train(second, Run(seed=3, checkpoint=tmp_path))
    assert same(first, second)


def test_a_full_disk_costs_the_checkpoint_and_not_the_fit(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    first, second = line(), line()
    train(first, Run(seed=3))
    monkeypatch.setattr("daogou.networks.loop.save_file", full)
    train(second, Run(seed=3, checkpoint=tmp_path))
    assert same(first, second)


def test_a_checkpoint_of_something_else_is_not_resumed(tmp_path):
    model, told = line(), []
    train(line(), Run(checkpoint=tmp_path), of="a" * 64)
    train(model, Run(checkpoint=tmp_path, progress=lambda *step: told.append(step)), of="b" * 64)
    assert len(told) == 30


def test_a_checkpoint_that_was_being_written_does_not_count(tmp_path):
    """A kill between writing and the renaming of the pointer leaves a directory that nothing names."""
    train(line(), Run(checkpoint=tmp_path), epochs=6)
    home = tmp_path / ("f" * 32)
    (home / "epoch-0007").mkdir()
    (home / "epoch-0007" / "now.safetensors").write_bytes(b"half")
    model, told = line(), []
    train(model, Run(checkpoint=tmp_path, progress=lambda *step: told.append(step)), epochs=6)
    assert not told


def test_a_loss_that_is_no_number_is_an_error_and_keeps_nothing(tmp_path):
    def poisoned(rng):
        yield from ((x, np.full_like(y, np.nan)) for x, y in batches(rng))

    with pytest.raises(TrainingError, match=r"line epoch 1/6: the loss became nan \(expected a number\); lower learning_rate"):
        train(line(), Run(checkpoint=tmp_path), data=poisoned)
    assert not list(tmp_path.rglob("current"))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 80 bytes"), RuntimeError("can't allocate memory")])
def test_too_little_memory_says_what_to_lower(error):
    def greedy(rng):
        yield from batches(rng)
        raise error

    with pytest.raises(TrainingError, match="line epoch 1/6: out of memory; lower batch_tokens"):
        train(line(), data=greedy)


def test_too_little_memory_to_validate_says_the_same():
    def greedy():
        raise MemoryError

    with pytest.raises(TrainingError, match="line epoch 1/6: out of memory; lower batch_tokens"):
        train(line(), validate=greedy)


def test_other_errors_are_not_taken_for_it():
    def broken(rng):
        raise RuntimeError("a bug")
        yield

    with pytest.raises(RuntimeError, match="a bug"):
        train(line(), data=broken)


def test_progress_names_epoch_and_loss():
    told = []
    train(line(), Run(progress=lambda *step: told.append(step)), epochs=2)
    assert [t[1:] for t in told] == [(n, 5) for n in (1, 2, 3, 4, 5)] * 2
    assert told[0][0].startswith("line epoch 1/2 loss ") and told[-1][0].startswith("line epoch 2/2 loss ")


def test_fingerprints_follow_arrays_and_settings():
    a = np.arange(3)
    prints = [loop.fingerprint("x", loop.LoopConfig(), a), loop.fingerprint("x", loop.LoopConfig(epochs=3), a), loop.fingerprint("x", loop.LoopConfig(), a + 1)]
    assert len(set(prints)) == 3 and prints[0] == loop.fingerprint("x", loop.LoopConfig(), a.copy())


def test_weights_of_other_layers_or_shapes_are_refused():
    model = line()
    arrays = weights.read(model)
    with pytest.raises(Exception, match="another network"):
        weights.write(model, {**arrays, "999.more": np.zeros(1)})
    key = next(iter(arrays))
    with pytest.raises(Exception, match="has shape"):
        weights.write(model, {**arrays, key: np.zeros((7, 7), np.float32)})


def test_inference_uses_the_weights_of_the_moment():
    model = line()
    run = Inference(model)
    x, y = np.ones((8, 3), np.float32), np.zeros((8, 1), np.float32)
    before = run(x, y)
    weights.write(model, {key: value * 0 for key, value in weights.read(model).items()})
    assert before > 0 and run(x, y) == 0
