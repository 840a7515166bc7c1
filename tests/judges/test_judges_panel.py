import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from defuse.classifiers import ClassifierSettings
from defuse.errors import ClassifierError, RunError
from defuse.judges import Judges
from defuse.judges.panel import JudgeTraining
from defuse.pixels import to_pixels
from defuse.records import LabelledImages, Rate

SETTINGS = Judges(
    gate=("cnn", "resnet-mini"),
    label=("cnn-strided", "resnet-mini"),
    training=JudgeTraining(epochs=1, batch_size=30, augment="affine", mixup=0.0, coarse=0.0, faint=0.0),
)
MEMBERS = ["gate-0", "gate-1", "label-0", "label-1"]


def bars(count, seed):
    """Return 16 x 16 images with a bright bar: the class is its column."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    images = rng.integers(0, 40, (count, 16, 16, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 5 * label : 5 * label + 4] = rng.integers(120, 256)
    return LabelledImages(images, labels, ("left", "middle", "right"), np.arange(count))


REFERENCE, VALIDATION = bars(120, 0), bars(60, 1)
PIXELS = to_pixels(bars(40, 2).images)


def fit(folder, settings=SETTINGS, *, seed=5, **options):
    return settings.fit(REFERENCE, VALIDATION, seed=seed, folder=folder, **options)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judges")
    return folder, fit(folder)


@pytest.fixture
def copied(fitted, tmp_path):
    """A finished folder of one's own."""
    return shutil.copytree(fitted[0], tmp_path / "judges")


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        pytest.fail("a judge was trained that was there already")

    monkeypatch.setattr("defuse.judges.panel.train", refuse)
    monkeypatch.setattr("defuse.judges.panel.fit_temperature", refuse)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def same(first, second):
    assert torch.equal(first.gate.probabilities(PIXELS), second.gate.probabilities(PIXELS))
    assert torch.equal(first.label.probabilities(PIXELS), second.label.probabilities(PIXELS))
    assert first.accuracy == second.accuracy


def test_each_judge_is_stored_with_its_temperature(fitted):
    folder, panel = fitted
    assert sorted(contents(folder)) == sorted(f"{name}.{end}" for name in MEMBERS for end in ("json", "safetensors"))
    judges = panel.gate.members + panel.label.members
    for name, network, judge in zip(MEMBERS, (*SETTINGS.gate, *SETTINGS.label), judges, strict=True):
        note = json.loads((folder / f"{name}.json").read_text())
        assert note == {"network": network, "temperature": judge.temperature}


def test_accuracy_is_each_member_s_own_on_validation_images_gate_first(fitted):
    _, panel = fitted
    judges = panel.gate.members + panel.label.members
    right = [int((judge.classifier.predict(VALIDATION.images) == VALIDATION.labels).sum()) for judge in judges]
    assert panel.accuracy == tuple(Rate(count, 60) for count in right)


def test_every_judge_has_weights_of_its_own(fitted):
    """The same network stands in both groups; a judge that labels must not be a copy of one that gates."""
    _, panel = fitted
    assert SETTINGS.gate[1] == SETTINGS.label[1]
    one, other = (judge.probabilities(PIXELS) for judge in (panel.gate.members[1], panel.label.members[1]))
    assert (one - other).abs().max() > 1e-3


def test_groups_are_unanimous(fitted):
    _, panel = fitted
    for group in (panel.gate, panel.label):
        members = torch.stack([member.probabilities(PIXELS) for member in group.members])
        assert torch.equal(group.probabilities(PIXELS), members.amin(0))
        assert (group.probabilities(PIXELS).sum(1) <= 1 + 1e-6).all()


def test_the_seed_decides(fitted, tmp_path):
    folder, panel = fitted
    same(fit(tmp_path / "again"), panel)
    assert contents(tmp_path / "again") == contents(folder)
    fit(tmp_path / "other", seed=6)
    weights = "gate-0.safetensors"
    assert (tmp_path / "other" / weights).read_bytes() != (folder / weights).read_bytes()


def test_judges_learn(tmp_path):
    settings = Judges(
        gate=("cnn",),
        label=("cnn-wide",),
        training=JudgeTraining(epochs=6, batch_size=30, augment="shift", mixup=0.0, coarse=0.0, faint=0.0),
    )
    panel = fit(tmp_path, settings)
    assert min(rate.value for rate in panel.accuracy) > 0.9  # by chance 1 in 3


def test_progress_names_the_judge(tmp_path):
    told = []
    fit(tmp_path, progress=lambda task, *_: told.append(task))
    assert list(dict.fromkeys(told)) == [
        "judge gate-0 (cnn)",
        "judge gate-1 (resnet-mini)",
        "judge label-0 (cnn-strided)",
        "judge label-1 (resnet-mini)",
    ]


@pytest.mark.usefixtures("no_training")
def test_resume_of_a_finished_panel_trains_nobody(fitted, copied):
    before = times(copied)
    same(fit(copied), fitted[1])
    assert times(copied) == before


@pytest.mark.parametrize("member", range(4))
def test_resume_after_a_stop_in_the_middle(fitted, tmp_path, member):
    class Stop(Exception):  # noqa: N818  no error: somebody pulls the plug
        pass

    def progress(task, done, total, note=""):
        del note
        if MEMBERS[member] in task and 2 * done >= total:
            raise Stop

    with pytest.raises(Stop):
        fit(tmp_path, progress=progress)
    before = times(tmp_path)
    assert len(before) == 2 * member
    same(fit(tmp_path), fitted[1])
    assert contents(tmp_path) == contents(fitted[0])
    assert before.items() <= times(tmp_path).items()


@pytest.mark.parametrize("lost", [["gate-0.json"], ["label-0.json", "label-0.safetensors"], ["gate-1.json"]])
def test_resume_makes_lost_judges_anew_and_no_others(fitted, copied, lost):
    """Weights without their note were written by a fit that was killed between the two."""
    before = times(copied)
    for name in lost:
        (copied / name).unlink()
    same(fit(copied), fitted[1])
    assert contents(copied) == contents(fitted[0])
    after = times(copied)
    anew = {name.split(".")[0] for name in after if after[name] != before[name]}
    assert anew == {lost[0].split(".")[0]}


@pytest.mark.parametrize("data", ["", "[]", "{}", '{"temperature": "warm"}', '{"temperature": null}'])
def test_bad_input_damaged_note(copied, data):
    (copied / "gate-1.json").write_text(data)
    with pytest.raises(RunError, match=r"gate-1\.json"):
        fit(copied)


@pytest.mark.parametrize("damage", ["missing", "cut", "other network"])
def test_bad_input_damaged_weights(copied, damage):
    path = copied / "gate-0.safetensors"
    whole = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(whole[:500])
    if damage == "other network":
        shutil.copy(copied / "gate-1.safetensors", path)
    with pytest.raises(ClassifierError, match=r"gate-0\.safetensors"):
        fit(copied)


@pytest.mark.parametrize(
    "change", [{"gate": ()}, {"label": ()}, {"gate": ("cnn", "cn")}, {"label": "cnn"}, {"votes": 3}, {"training": None}]
)
def test_bad_input_settings(change):
    with pytest.raises(ValidationError):
        Judges(**change)


def test_bad_input_unknown_network_is_answered_with_the_choice():
    with pytest.raises(ValidationError, match="no built-in network is called 'cn'; choose one of cnn, cnn-wide"):
        Judges(gate=("cn",))


def test_bad_input_training_that_diverges(tmp_path):
    settings = Judges(gate=("mixer",), label=("cnn",), training=JudgeTraining(batch_size=30, learning_rate=1e30))
    with pytest.raises(ClassifierError, match="training: the loss became"):
        fit(tmp_path, settings)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's with two judges: one that reads the bars, one that always says "left"."""
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "from defuse.classifiers import CallableClassifier\n"
        "NAMES = ('left', 'middle', 'right')\n"
        "def reader():\n"
        "    sums = lambda images: np.stack([images[:, :, 5 * k : 5 * k + 4].mean((1, 2, 3)) for k in range(3)], 1)\n"
        "    return CallableClassifier(sums, NAMES)\n"
        "def stubborn():\n"
        "    return CallableClassifier(lambda images: np.tile([9.0, 0.0, 0.0], (len(images), 1)), NAMES)\n"
        "def foreign():\n"
        "    return CallableClassifier(lambda images: np.zeros((len(images), 2)), ('a', 'b'))\n"
    )
    monkeypatch.chdir(tmp_path)

    def settings(name):
        return replace(SETTINGS, own=ClassifierSettings(factory=f"mine:{name}"))

    return settings


def test_a_judge_of_the_user_s_own_gates_beside_the_others(copied, own):
    plain, panel = fit(copied), fit(copied, own("reader"))
    assert own("reader").gating == 3
    assert panel.accuracy[:2] == plain.accuracy[:2]
    assert panel.accuracy[2] == Rate(60, 60)
    assert panel.accuracy[3:] == plain.accuracy[2:]
    assert torch.equal(panel.label.probabilities(PIXELS), plain.label.probabilities(PIXELS))


def test_nothing_passes_the_gate_against_the_user_s_own_judge(copied, own):
    plain, panel = (fit(copied, settings).gate.probabilities(PIXELS) for settings in (SETTINGS, own("stubborn")))
    assert (panel <= plain).all()
    assert panel[:, 1:].max() < 0.5 < plain[:, 1:].max()


def test_bad_input_a_judge_of_the_user_s_own(copied, own):
    with pytest.raises(ClassifierError, match="mine:foreign: has 2 classes, the data 3"):
        fit(copied, own("foreign"))
    with pytest.raises(ValidationError, match="a judge of your own needs factory, weights, or both"):
        Judges(own=ClassifierSettings())
