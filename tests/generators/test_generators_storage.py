import json

import pytest
import torch
from safetensors.torch import load, save

from defuse.errors import GeneratorError, RunError
from defuse.generators import ConvVAE, Generator, Posterior, load_generator, save_generator
from defuse.generators.networks import Architecture, Autoencoder


@pytest.fixture
def folder(tmp_path):
    shape = Architecture(image_shape=(10, 14, 3), classes=3, conditional=True, latent=3, width=4, hidden=8)
    save_generator(tmp_path / "generator", ConvVAE(Autoencoder(shape)))
    return tmp_path / "generator"


def edit(folder, change):
    path = folder / "model.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))


def test_round_trip_of_a_twice_stored_generator_is_byte_identical(folder, tmp_path):
    save_generator(tmp_path / "again", load_generator(folder))
    assert {path.name for path in folder.iterdir()} == {"model.json", "model.safetensors"}
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_loading_leaves_the_global_random_state_alone(folder):
    before = torch.random.get_rng_state()
    load_generator(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("architecture"), "architecture: "),
        (lambda d: d.update(kind="diffusion"), "expected a generator of kind 'conv_vae'"),
        (lambda d: d.update(version=2), "version 1"),
        (lambda d: d["architecture"].update(latent="many"), "architecture.latent: "),
        (lambda d: d["architecture"].update(image_shape=[4, 28, 1]), "architecture.image_shape.0: "),
        (lambda d: d["architecture"].update(colour=True), "architecture.colour: "),
        (lambda d: d["architecture"].update(latent=4), "weights do not fit model.json: 3 differ, first decoder.dense"),
        (lambda d: d["architecture"].update(conditional=False), "weights do not fit"),
        (
            lambda d: d["architecture"].update(image_shape=[10, 14, 1]),
            "first decoder.head.bias, decoder.head.weight, encoder",
        ),
    ],
)
def test_bad_input_description(folder, change, said):
    edit(folder, change)
    with pytest.raises(GeneratorError) as error:
        load_generator(folder)
    assert said in str(error.value)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["", "[]", "no json", "null"])
def test_bad_input_description_is_no_object(folder, content):
    (folder / "model.json").write_text(content)
    with pytest.raises(GeneratorError, match=r"model\.json"):
        load_generator(folder)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_bad_input_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(GeneratorError, match=f"{name}: not found"):
        load_generator(folder)


def test_bad_input_damaged_weights(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[:-1], b"\x80\x04pickle"):
        path.write_bytes(content)
        with pytest.raises(GeneratorError, match="cannot be read as safetensors"):
            load_generator(folder)
    tensors = load(whole)
    tensors["encoder.head.bias"][0] = float("nan")
    path.write_bytes(save(tensors))
    with pytest.raises(GeneratorError, match="NaN"):
        load_generator(folder)


def test_bad_input_a_generator_without_a_file_format(tmp_path):
    class Identity(Generator):
        def encode(self, pixels, labels):  # noqa: ARG002  # the interface
            return Posterior(pixels.flatten(1), pixels.flatten(1))

        def decode(self, z, labels, seed=None):  # noqa: ARG002  # the interface
            return z

    with pytest.raises(GeneratorError, match="got Identity"):
        save_generator(tmp_path / "generator", Identity())
    assert not (tmp_path / "generator").exists()


def test_bad_input_folder_that_cannot_be_made(folder):
    (folder.parent / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot be written"):
        save_generator(folder.parent / "file" / "generator", load_generator(folder))
