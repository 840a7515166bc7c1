"""Where networks compute. What needs a CUDA device runs where there is one."""

import pytest
import torch

from defuse.config import build_config
from defuse.devices import pick_device
from defuse.errors import ConfigError
from defuse.generators import load_generator
from defuse.pipeline import Run
from defuse.results import write_results
from tiny_run import times

DATA = {"data": {"source": "signs"}}
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.usefixtures("two_gpus")
def test_auto_takes_a_gpu_where_there_is_one():
    assert pick_device() == "cuda"
    assert build_config(DATA).device == "cuda"


@pytest.mark.usefixtures("no_gpu")
def test_auto_takes_the_processor_where_there_is_none():
    assert pick_device() == "cpu"
    assert build_config(DATA).device == "cpu"


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1"])
def test_what_is_asked_for_is_what_it_gets(name):
    assert build_config({**DATA, "device": name}).device == name


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["gpu", "cuda:x", "CUDA", "mps", ""])
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError, match="device: expected auto, cpu, cuda or cuda:N, got"):
        build_config({**DATA, "device": name})


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"device: torch sees 2 CUDA devices; .*, got 'cuda:2'"):
        build_config(DATA, ["device=cuda:2"])


@pytest.mark.usefixtures("no_gpu")
def test_no_gpu_at_all_is_refused():
    with pytest.raises(ConfigError, match="device: torch sees 0 CUDA devices"):
        build_config(DATA, ["device=cuda"])


@pytest.mark.usefixtures("two_gpus")
def test_the_device_is_no_part_of_what_a_run_is():
    assert build_config({**DATA, "device": "cuda"}).plain() == build_config({**DATA, "device": "cpu"}).plain()


@needs_cuda
def test_a_generator_answers_alike_on_both(finished):
    here, there = (load_generator(finished.folder / "generator", device) for device in ("cpu", "cuda"))
    assert there.device.type == "cuda"
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(10)
    z = torch.randn(30, here.latent, generator=rng)
    pixels = here.decode(z, labels)
    for ask in (
        lambda one: one.decode(z, labels),
        lambda one: one.encode(pixels, labels).mean,
        lambda one: one.encode(pixels, labels).std,
        lambda one: one.log_likelihood(pixels, labels),
    ):
        torch.testing.assert_close(ask(there), ask(here), rtol=1e-2, atol=1e-2)


@needs_cuda
def test_a_whole_run_on_a_gpu(tiny, tmp_path):
    with Run(tiny.build("device=cuda"), tmp_path / "run") as run:
        assert run.classifier.device.type == run.generator.device.type == "cuda"
        results = write_results(run)
    assert results.summary.regions


@needs_cuda
def test_a_run_made_on_the_processor_is_read_on_a_gpu(tiny, finished, tmp_path):
    with Run(tiny.build("device=cuda"), finished.copy(tmp_path / "run")) as run:
        before = times(tmp_path / "run")
        write_results(run)
    assert before == times(tmp_path / "run")
