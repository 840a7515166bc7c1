import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from distill_toys import failures, sampler_of, toys
from hypothesis import given, settings
from hypothesis import strategies as st

from defuse.distill import DirichletMixture, Distill, load_regions, save_regions
from defuse.errors import RunError
from defuse.records import Evidence, Purpose, Rate, Region, Regions, RegionSamples

FILES = ("regions.json", "regions.safetensors", "samples.safetensors")


@st.composite
def any_regions(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    latent, channels = draw(st.integers(1, 5)), draw(st.sampled_from([1, 3]))
    finite = st.floats(allow_nan=False, allow_infinity=False)
    reported, samples = [], {}
    for number in range(draw(st.integers(0, 3))):
        name = f"r{number + 1:03d}"
        tried = draw(st.integers(0, 50))
        kept = draw(st.integers(0, tried))
        failed = draw(st.integers(0, kept))
        answers = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), max_size=3))
        evidence = Evidence(Rate(kept, tried), Rate(failed, kept), tuple(answers), draw(finite), draw(finite))
        root = rng.standard_normal((latent, latent))
        mean = rng.standard_normal(latent)
        reported.append(Region(name, 3, draw(st.integers(0, 9)), mean, root @ root.T, draw(finite), 7, evidence))
        for purpose in draw(st.sets(st.sampled_from(Purpose))):
            count = draw(st.integers(0, 4))
            samples[name, purpose] = RegionSamples(
                name,
                purpose,
                rng.integers(0, 256, (count, 4, 5, channels), dtype=np.uint8),
                rng.standard_normal((count, latent)).astype(np.float32),
                rng.integers(0, 9, count),
                rng.random(count) < 0.5,
            )
    dropped = draw(st.dictionaries(st.text(max_size=8), st.integers(0, 9), max_size=3))
    return Regions(tuple(reported), samples, draw(st.integers(0, 99)), dropped)


def assert_same(one, other):
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif hasattr(one, "__dataclass_fields__"):
        assert type(one) is type(other)
        for name in one.__dataclass_fields__:
            assert_same(getattr(one, name), getattr(other, name))
    elif isinstance(one, dict):
        assert sorted(one) == sorted(other)
        for key, value in one.items():
            assert_same(value, other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    else:
        assert type(one) is type(other)
        assert one == other


@settings(max_examples=25)
@given(any_regions())
def test_round_trip_and_equal_bytes(regions):
    with tempfile.TemporaryDirectory() as root:
        first, second = Path(root, "first"), Path(root, "second")
        save_regions(first, regions)
        assert_same(load_regions(first), regions)
        save_regions(second, load_regions(first))
        for name in FILES:
            assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.fixture
def saved(tmp_path):
    distill = Distill(mixture=DirichletMixture(max_components=1), tiles=5, repair_samples=5)
    found = failures((0, 1, (2.5, 2.5, 0.0), 0.4, 50))
    regions = distill.run(found, sampler_of(toys()), seed=0)
    assert len(regions.reported) == 1
    save_regions(tmp_path / "regions", regions)
    assert_same(load_regions(tmp_path / "regions"), regions)
    return tmp_path / "regions"


def refused(folder):
    with pytest.raises(RunError) as caught:
        load_regions(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_but_the_three_files_is_left(saved):
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_bad_input_regions_missing_file(saved, name):
    (saved / name).unlink()
    assert name in refused(saved)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0, 4, 0.5, -1])
def test_bad_input_regions_cut_file(saved, name, keep):
    data = (saved / name).read_bytes()
    cut = int(len(data) * keep) if isinstance(keep, float) else keep
    (saved / name).write_bytes(data[:cut] if name != "regions.json" or cut >= 0 else data[:-3])
    assert name in refused(saved)


def test_bad_input_regions_key_of_a_wrong_type(saved):
    listing = json.loads((saved / "regions.json").read_text())
    listing["regions"][0]["support"] = "many"
    (saved / "regions.json").write_text(json.dumps(listing))
    assert "regions.0.support" in refused(saved)


def test_bad_input_regions_of_another_version(saved):
    listing = json.loads((saved / "regions.json").read_text())
    (saved / "regions.json").write_text(json.dumps({**listing, "version": 2}))
    assert "version" in refused(saved)


def test_bad_input_regions_files_that_do_not_belong_together(saved, tmp_path):
    save_regions(tmp_path / "empty", Regions((), {}, 0))
    (saved / "samples.safetensors").write_bytes((tmp_path / "empty" / "samples.safetensors").read_bytes())
    assert "r001/" in refused(saved)


@pytest.mark.parametrize("broken", FILES)
def test_a_crash_while_saving_again_leaves_nothing_that_loads(saved, monkeypatch, broken):
    regions = load_regions(saved)
    replace = Path.replace

    def crash(self, target):
        if Path(target).name == broken:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        save_regions(saved, regions)
    monkeypatch.undo()
    assert "regions.json" in refused(saved)


def test_bad_input_regions_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="file"):
        save_regions(tmp_path / "file" / "regions", Regions((), {}, 0))
