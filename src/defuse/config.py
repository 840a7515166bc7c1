"""The run's configuration: one section per stage, made of the very classes that do the work."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from defuse.classifiers import ClassifierSettings
from defuse.correct import Correct
from defuse.data import ReadSettings, SplitSettings
from defuse.devices import Device
from defuse.distill import Cost, Distill
from defuse.errors import ConfigError
from defuse.generators import VAE
from defuse.identify import Identify
from defuse.judges import Judges
from defuse.label import MachineAnnotator, Majority

Preset = Literal["default", "paper"]

SHOWN = 80
"""Characters of a wrong value that a message shows."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "paper": {
        "generator": {"conditional": False, "beta": 2.0, "min_reconstruction": 0.5},
        "identify": {
            "budget": 100_000,
            "proposals": [{"kind": "beta_noise"}],
            "gates": [{"kind": "misclassified"}],
            "detail": False,
        },
        "distill": {
            "mixture": {"max_components": 100, "max_iterations": 100},
            "per_pair": False,
            "min_support": 1,
            "weight_threshold": 0.01,
            "parts": 1,
            "sharpen_rounds": 0,
            "deepen_rounds": 0,
            "keep_only": False,
            "max_regions": None,
        },
        "correct": {
            "lambdas": (0.1, 0.3, 1.0, 3.0),
            "kept_only": False,
            "augment": "none",
            "keep_answers": False,
            "blends": (1.0,),
            "max_changed_loss": 1.0,
            "max_accuracy_loss_bound": 1.0,
            "max_negative_flips": 1.0,
        },
    },
}
"""What each preset changes in the classes' own defaults, which are preset ``default``.

``paper`` is the published algorithm (arXiv:2102.06162): an unconditional beta-VAE, Beta noise, "misclassified" as the
only test, one Dirichlet-process mixture over all kept codes, one majority label per component, a grid of lambda. Its
hyperparameters (a, b, scale, beta, truncation, thresholds, grid) were not at hand, so the values are ours. Nearly every
flip is kept, so the budget is smaller than the default's.
"""


class Section(BaseModel):
    """Base of the configuration's own sections: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section, ReadSettings):
    """Where the labelled images are, and how to read them."""

    source: str
    """Path of a data set, ``torchvision:NAME``, ``hf:NAME``, or ``signs`` for rendered traffic signs."""
    class_names: tuple[str, ...] | None = None
    """One name per class index, where the source holds none."""
    split: SplitSettings = SplitSettings()


class LabelConfig(Section):
    """Who labels regions."""

    machine: MachineAnnotator | None = MachineAnnotator()
    """The stand-in for people, marked as machine wherever it is shown; ``null`` leaves labelling to people."""
    majority: Majority = Majority()


class Config(Section):
    """Everything that decides a run's result, and the device to compute it on."""

    preset: Preset = "default"
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig
    classifier: ClassifierSettings = ClassifierSettings()
    generator: VAE = VAE()
    judges: Judges = Judges()
    identify: Identify = Identify()
    distill: Distill = Distill()
    cost: Cost = Cost()
    label: LabelConfig = LabelConfig()
    correct: Correct = Correct()
    device: Device = "auto"
    """Where networks compute: ``auto`` takes a CUDA device where there is one. A run may go on on another device."""

    def plain(self) -> dict[str, Any]:
        """Return the configuration as JSON-able values."""
        return self.model_dump(mode="json")


def read_config(path: Path) -> dict[str, Any]:
    """Read a YAML configuration.

    Raises:
        ConfigError: it is missing, no YAML, or no mapping.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: not found; write one with `defuse init {path}`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(value).__name__}")
    return value


def build_config(
    values: Mapping[str, Any],
    settings: Sequence[str] = (),
    *,
    where: str = "configuration",
    defaults: Mapping[str, Any] | None = None,
) -> Config:
    """Merge preset, file and ``key=value`` settings (later wins) and validate.

    Args:
        values: the configuration file's content.
        settings: dotted keys with YAML values, such as ``identify.budget=1000``.
        where: what to name in error messages.
        defaults: values below the preset's and the file's.

    Raises:
        ConfigError: one line naming the key, what was expected and, for an unknown key, the nearest known one.
    """
    merged: dict[str, Any] = dict(values)
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {setting}: expected key=value, such as identify.budget=1000")
        merged = merge(merged, _nest(key.split("."), _scalar(setting, text)))
    preset = merged.get("preset", "default")
    base = PRESETS.get(preset, {}) if isinstance(preset, str) else {}
    try:
        return Config.model_validate(merge(merge(dict(defaults or {}), base), merged))
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_problem(error)}") from None


def build_classifier_settings(
    values: Mapping[str, Any], settings: Sequence[str] = (), *, where: str
) -> ClassifierSettings:
    """Validate the classifier's section alone, for commands that need no other.

    Raises:
        ConfigError: as ``build_config``.
    """
    changes = [f"classifier.{setting}" for setting in settings]
    return build_config({"data": {"source": "signs"}, "classifier": dict(values)}, changes, where=where).classifier


def starter(source: str) -> str:
    """Return a short configuration for a newcomer to change."""
    return _STARTER.format(source=json.dumps(source))


_STARTER = """\
preset: default            # or: paper (the published method)
seed: 0
data:
  source: {source}
classifier:
  builtin: cnn             # trained here; for your own model instead:
  # factory: mypackage.models:build    (a function that returns a torch.nn.Module)
  # weights: model.safetensors         (or a state_dict)
  # mean: [0.1307]                     (preprocessing of images in [0, 1])
  # std: [0.3081]
identify:
  budget: 300000           # how many images to try
"""


def _scalar(setting: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {setting}: the value is not valid YAML") from None


def _nest(keys: Sequence[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections of a configuration with those of ``over`` laid over them, key by key."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    problem = next((p for p in problems if p["type"] in _UNKNOWN), problems[0])
    *path, last = problem["loc"]
    section = ".".join(_written(path))
    key = f"{section}.{last}".removeprefix(".")
    if problem["type"] in _UNKNOWN:
        near = difflib.get_close_matches(str(last), _known_keys([str(part) for part in path]), n=1, cutoff=0.5)
        advice = "; did you mean " + f"{section}.{near[0]}?".removeprefix(".") if near else ""
        return f"unknown key {key}{advice}"
    if problem["type"] == "missing":
        return f"{key} is missing; add it or use --set {key}=..."
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}, got {_short(problem['input'])}"


def _written(path: Sequence[str | int]) -> list[str]:
    """Return the keys as the user wrote them: pydantic puts the ``kind`` of a list's item after its place."""
    return [str(part) for before, part in zip([None, *path], path, strict=False) if not isinstance(before, int)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def _known_keys(path: Sequence[str]) -> list[str]:
    """Return the keys of the section at ``path``, read off the schema of the configuration."""
    schema = TypeAdapter(Config).json_schema()
    definitions = schema.get("$defs", {})
    node = schema
    for part in path:
        node = _resolve(_below(node, part), definitions)
    return list(node.get("properties", {}))


def _below(node: dict[str, Any], part: str) -> dict[str, Any]:
    """Return what the schema says of a key, of a place in a list, or of a ``kind`` in a choice of sections."""
    if part.isdecimal():
        return dict(node.get("items", {}))
    if "discriminator" in node:
        return {"$ref": node["discriminator"]["mapping"].get(part, "")}
    return dict(node.get("properties", {}).get(part, {}))


def _resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, through ``anyOf`` and ``allOf`` if need be, to the section it names."""
    for option in [node, *node.get("anyOf", []), *node.get("allOf", [])]:
        if "$ref" in option:
            return dict(definitions.get(option["$ref"].rsplit("/", 1)[-1], {}))
    return node
