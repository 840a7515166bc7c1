import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from generator_toys import bars, direction
from safetensors import safe_open
from safetensors.torch import load, save_file

from defuse.errors import GeneratorError
from defuse.generators import VAE, Epoch, reconstruction_accuracy, training
from defuse.generators.training import Schedule

SMALL = VAE(latent=2, width=4, hidden=16, epochs=4, batch_size=32)


class StoppedError(Exception):
    """Stands in for a kill."""


def weights(trained):
    return {name: tensor.numpy().tobytes() for name, tensor in trained.generator.network.state_dict().items()}


def stop_in(epoch):
    def progress(task, done, total, note=""):
        assert task
        assert done <= total
        if note.startswith(f"epoch {epoch} "):
            raise StoppedError

    return progress


@pytest.fixture(scope="module")
def data():
    return bars(160), bars(40, seed=1)


@pytest.fixture(scope="module")
def undisturbed(data):
    return SMALL.fit(*data, seed=3)


def test_every_reported_bound_is_the_held_out_bound_at_beta_one(data):
    heavy = VAE(latent=2, width=4, hidden=16, epochs=2, batch_size=32, beta=4.0).fit(*data, seed=0)
    for epoch in heavy.history.epochs:
        assert epoch.held_out == pytest.approx(epoch.reconstruction + epoch.divergence)
    assert heavy.history.best.held_out == min(epoch.held_out for epoch in heavy.history.epochs)


def test_beta_buys_a_smaller_divergence(data):
    settings = {"latent": 2, "width": 4, "hidden": 16, "epochs": 12, "batch_size": 16}
    light, heavy = (VAE(beta=beta, **settings).fit(*data, seed=0).history.epochs[-1] for beta in (1.0, 50.0))
    assert heavy.divergence < 0.5 * light.divergence
    assert heavy.reconstruction > light.reconstruction


@pytest.mark.parametrize("channels", [1, 3])
def test_learns_bars_and_the_label_decides_their_direction(channels):
    """Planted truth: the code holds place and brightness, the label the direction; both must survive."""
    settings = VAE(latent=2, width=8, hidden=32, epochs=30, batch_size=32, learning_rate=5e-3, patience=30)
    trained = settings.fit(bars(320, channels=channels), bars(40, seed=1, channels=channels), seed=0)
    fresh = bars(100, seed=2, channels=channels)
    assert reconstruction_accuracy(trained.generator, direction, fresh).kept.value >= 0.98

    pixels = torch.from_numpy(fresh.images).permute(0, 3, 1, 2) / 255
    labels = torch.from_numpy(fresh.labels)
    codes = trained.generator.encode(pixels, labels).mean
    turned = trained.generator.decode(codes, 1 - labels)
    assert (direction(turned.permute(0, 2, 3, 1).numpy() * 255) == 1 - fresh.labels).mean() >= 0.95


def test_the_seed_decides_the_weights(data, undisturbed):
    torch.manual_seed(99)  # the global state must not matter
    assert weights(SMALL.fit(*data, seed=3)) == weights(undisturbed)
    assert weights(SMALL.fit(*data, seed=4)) != weights(undisturbed)


def test_the_global_random_state_is_left_alone(data):
    before = torch.random.get_rng_state()
    SMALL.fit(*data, seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_resume_after_an_exception_is_byte_identical(data, undisturbed, tmp_path, epoch):
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(StoppedError):
        SMALL.fit(*data, seed=3, checkpoint=checkpoint, progress=stop_in(epoch))
    resumed = SMALL.fit(*data, seed=3, checkpoint=checkpoint)
    assert weights(resumed) == weights(undisturbed)
    assert resumed.history == undisturbed.history


def test_a_floor_that_decides_nothing_in_training_may_change_in_between(data, undisturbed, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(StoppedError):
        SMALL.fit(*data, seed=3, checkpoint=checkpoint, progress=stop_in(3))
    resumed = replace(SMALL, min_reconstruction=0.1).fit(*data, seed=3, checkpoint=checkpoint)
    assert weights(resumed) == weights(undisturbed)


def test_resume_of_a_finished_training_does_no_step(data, undisturbed, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    SMALL.fit(*data, seed=3, checkpoint=checkpoint)
    again = SMALL.fit(*data, seed=3, checkpoint=checkpoint, progress=stop_in(1))
    assert weights(again) == weights(undisturbed)


def test_resume_after_kill_9_is_byte_identical(data, undisturbed, tmp_path):
    """A real process, killed by signal in the middle of its third epoch; another goes on."""
    script = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        import torch
        sys.path.insert(0, sys.argv[1])
        torch.set_num_threads(int(sys.argv[3]))
        from generator_toys import bars
        from defuse.generators import VAE

        def progress(task, done, total, note=""):
            if done == 13:
                os.kill(os.getpid(), signal.SIGKILL)

        vae = VAE(latent=2, width=4, hidden=16, epochs=4, batch_size=32)
        vae.fit(bars(160), bars(40, seed=1), seed=3, checkpoint=Path(sys.argv[2]), progress=progress)
    """)
    checkpoint = tmp_path / "checkpoint.safetensors"
    arguments = [str(Path(__file__).parent), str(checkpoint), str(torch.get_num_threads())]
    killed = subprocess.run([sys.executable, "-c", script, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL

    seen = []
    resumed = SMALL.fit(*data, seed=3, checkpoint=checkpoint, progress=lambda *report: seen.append(report[1]))
    assert seen == list(range(11, 21))  # five steps an epoch; the third is done again from its start
    assert weights(resumed) == weights(undisturbed)


def test_schedule_rises_then_falls_to_zero():
    schedule = Schedule(beta=1, epochs=1, batch_size=1, learning_rate=0.5, patience=1)
    rates = [schedule.rate(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[9] == rates[10] == 0.5
    assert rates[55] == pytest.approx(0.25)
    assert 0 < rates[99] < 1e-3
    assert all(schedule.rate(step, 1) > 0 for step in range(1))


def test_patience_stops_and_the_best_weights_are_kept(data):
    """First the rule itself, then a training on 16 images, which soon gets worse on the others."""
    schedule = Schedule(beta=1, epochs=9, batch_size=1, learning_rate=1, patience=2)
    bounds = [5.0, 4.0, 4.5, 4.1]
    epochs = [Epoch(number, 0.0, value, value, 0.0) for number, value in enumerate(bounds, start=1)]
    assert [schedule.finished(epochs[:count]) for count in range(5)] == [False, False, False, False, True]

    tiny = bars(16)
    trained = VAE(latent=2, width=4, hidden=16, epochs=200, batch_size=8, learning_rate=0.02, patience=3).fit(
        tiny, data[1], seed=0
    )
    assert trained.history.stopped_early
    assert len(trained.history.epochs) == trained.history.best.number + 3


def one_class(data):
    return data.take(np.flatnonzero(data.labels == 0))


@pytest.mark.parametrize(
    ("reference", "held_out", "said"),
    [
        (bars(1), bars(4), "at least 2 reference images"),
        (bars(4), bars(0), "1 held-out image"),
        (bars(4, size=6), bars(4, size=6), "from 8 to 128 pixels, got 6 x 6"),
        (bars(4, size=130), bars(4, size=130), "got 130 x 130"),
        (bars(4, channels=2), bars(4, channels=2), "1 or 3 channels, got 2"),
        (bars(4), bars(4, size=14), "do not fit reference images"),
    ],
)
def test_bad_input_images(reference, held_out, said):
    with pytest.raises(GeneratorError, match=said) as error:
        SMALL.fit(reference, held_out, seed=0)
    assert "\n" not in str(error.value)


def test_bad_input_settings_name_the_field():
    for key, value in {"latent": 0, "beta": 0, "learning_rate": float("nan"), "min_reconstruction": 1.5}.items():
        with pytest.raises(ValueError, match=key):
            VAE(**{key: value})


@pytest.fixture
def poison(monkeypatch):
    """Return a function that makes given epochs' first steps end in NaN weights, as exploding steps would."""

    real = training._train_epoch

    def arrange(*attempts):
        starts = iter(range(1, 100))

        def poisoned(state, *arguments, **options):
            if next(starts) in attempts:
                with torch.no_grad():
                    state.network.decoder.head.bias.fill_(float("nan"))
            return real(state, *arguments, **options)

        monkeypatch.setattr(training, "_train_epoch", poisoned)

    return arrange


@pytest.mark.parametrize("epoch", [1, 3])
def test_bad_input_learning_rate_that_always_diverges_advises_and_clears_the_checkpoint(data, tmp_path, epoch, poison):
    checkpoint = tmp_path / "checkpoint.safetensors"
    poison(*range(epoch, 100))
    with pytest.raises(GeneratorError, match=r"lower generator.learning_rate \(now 0.002\)"):
        SMALL.fit(*data, seed=0, checkpoint=checkpoint)
    assert not checkpoint.exists()


def test_a_training_that_diverged_goes_on_from_its_last_good_epoch_at_half_the_rate(data, poison):
    undisturbed = SMALL.fit(*data, seed=0).history
    poison(2, 3)
    disturbed = SMALL.fit(*data, seed=0)
    assert disturbed.history.restarts == 2
    assert disturbed.history.epochs[0] == undisturbed.epochs[0]
    assert [epoch.number for epoch in disturbed.history.epochs] == [epoch.number for epoch in undisturbed.epochs]
    assert disturbed.history.epochs[1] != undisturbed.epochs[1]
    assert all(torch.isfinite(tensor).all() for tensor in disturbed.generator.network.state_dict().values())


def test_a_training_that_diverged_resumes_at_the_lower_rate(data, tmp_path, poison):
    checkpoint = tmp_path / "checkpoint.safetensors"
    poison(1)
    whole = SMALL.fit(*data, seed=0).history
    poison(1)
    with pytest.raises(StoppedError):
        SMALL.fit(*data, seed=0, checkpoint=checkpoint, progress=stop_in(2))
    poison()
    assert SMALL.fit(*data, seed=0, checkpoint=checkpoint).history == whole


def test_an_absurd_learning_rate_never_returns_nan(data):
    """Bounded log-variances: even this ends in a finite bound or in advice, never in NaN weights."""
    wild = VAE(latent=2, width=4, hidden=16, epochs=2, batch_size=32, learning_rate=1e6)
    with suppress(GeneratorError):
        trained = wild.fit(*data, seed=0)
        assert all(torch.isfinite(tensor).all() for tensor in trained.generator.network.state_dict().values())


def test_bad_input_checkpoint_of_another_training(data, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    SMALL.fit(*data, seed=3, checkpoint=checkpoint)
    for reference, seed in [(data[0], 4), (bars(160, seed=9), 3), (one_class(data[0]), 3)]:
        with pytest.raises(GeneratorError, match="checkpoint of another training") as error:
            SMALL.fit(reference, data[1], seed=seed, checkpoint=checkpoint)
        assert str(checkpoint) in str(error.value)


def test_bad_input_damaged_checkpoint(data, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    SMALL.fit(*data, seed=3, checkpoint=checkpoint)
    whole = checkpoint.read_bytes()
    tensors = load(whole)
    with safe_open(checkpoint, "pt") as file:
        counters = file.metadata()
    fewer = {name: tensor for name, tensor in tensors.items() if name != "network.encoder.head.bias"}
    larger = tensors | {"network.encoder.head.bias": torch.zeros(99)}
    for damage in (
        lambda: checkpoint.write_bytes(whole[: len(whole) // 2]),
        lambda: checkpoint.write_bytes(b"no tensors at all"),
        lambda: save_file(tensors, checkpoint),
        lambda: save_file(tensors, checkpoint, {"defuse": "no json"}),
        lambda: save_file(fewer, checkpoint, counters),
        lambda: save_file(larger, checkpoint, counters),
    ):
        damage()
        with pytest.raises(GeneratorError, match="damaged checkpoint"):
            SMALL.fit(*data, seed=3, checkpoint=checkpoint)
