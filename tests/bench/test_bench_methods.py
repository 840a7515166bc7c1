import numpy as np
import pytest
from bench_makers import TASK, TinyWorkshop, tiny_ground

from defuse.bench import cells
from defuse.bench.genetic import Genetic, GeneticRun, _survivors
from defuse.bench.methods import Chain, ReferenceOnly
from defuse.bench.peers import ANY_FLIP, AdversarialTuning, Clustering, ValidationErrors
from defuse.classifiers import TorchClassifier, build_network
from defuse.correct.measure import cross_entropy
from defuse.seeds import torch_rng


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(autouse=True)
def quick_oracle(monkeypatch):
    """One epoch: what the oracle says is not tested here."""
    train = cells.train_oracle
    monkeypatch.setattr(cells, "train_oracle", lambda *args, **named: train(*args, **{**named, "epochs": 1}))


def test_a_run_and_a_peer_share_generator_and_judges(folder, monkeypatch):
    first = TinyWorkshop(folder, None, 0).do(TASK, Chain("default"), "unseen")
    assert first.stages["generator"] > 0
    made = {
        path: path.stat().st_mtime_ns
        for kind in ("generators", "judges")
        for path in (folder / "cache").glob(f"{kind}/*/*")
    }
    assert {path.parts[-3] for path in made} == {"generators", "judges"}
    assert first.ceiling.trials == len(tiny_ground().held_out(TASK.name))
    small = Genetic(population=6, generations=3, together=8)
    monkeypatch.setattr("defuse.bench.genetic.Genetic", lambda: small)
    peer = Chain("genetic", changes=(ANY_FLIP, "identify.budget=300"), opener=GeneticRun)
    second = TinyWorkshop(folder, None, 0).do(TASK, peer, "unseen")
    assert "generator" not in second.stages
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert second.repair.before == first.repair.before
    assert second.repair.clean == first.repair.clean
    assert len(list(folder.glob("runs/*genetic*/identify/*.parquet"))) == small.rounds(300) == 2


def test_the_control_is_reference_data_alone(folder):
    cell = TinyWorkshop(folder, None, 0).do(TASK, ReferenceOnly(), "unseen")
    assert cell.repair.after == cell.repair.control
    assert (cell.reported, cell.rank, cell.precision) == (0, None, None)


@pytest.mark.parametrize("method", [Clustering(components=4), ValidationErrors(), AdversarialTuning(images=50)])
def test_methods_that_look_at_real_errors(folder, method):
    cell = TinyWorkshop(folder, None, 0).do(TASK, method, "seen")
    assert (cell.reported > 0) == (method.name == "clustering")
    counts = [score.failing for score in cell.findings]
    assert counts == sorted(counts, reverse=True)
    assert cell.ceiling is None


def test_an_attack_stays_within_its_radius_and_raises_the_loss():
    images = tiny_ground().pools.test.images.take(np.arange(40))
    module = build_network("cnn", 3, 10, 16, seed=0)
    classifier = TorchClassifier(module, images.class_names)
    attacked = AdversarialTuning().attack(classifier, images, torch_rng(0))
    moved = np.abs(attacked.astype(int) - images.images.astype(int))
    assert 0 < moved.max() <= 8

    def loss(pixels):
        return cross_entropy(classifier.predict_logits(pixels), images.labels)

    assert loss(attacked) > loss(images.images)


def test_survivors_are_the_better_half_best_first():
    codes = np.arange(3.0)[None, :, None], 10 + np.arange(3.0)[None, :, None]
    fitness = np.array([[3.0, 1.0, 5.0]]), np.array([[0.5, 4.0, 2.0]])
    answers = np.array([[0, 1, 2]]), np.array([[3, 4, 5]])
    kept, rated, read = _survivors(codes, fitness, answers)
    assert kept[0, :, 0].tolist() == [10.0, 1.0, 12.0]
    assert rated.tolist() == [[0.5, 1.0, 2.0]]
    assert read.tolist() == [[3, 1, 5]]
