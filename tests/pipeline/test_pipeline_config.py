from pathlib import Path

import pytest
import yaml

from defuse.config import PRESETS, Config, build_classifier_settings, build_config, read_config, starter
from defuse.errors import ConfigError
from defuse.identify import BetaNoise, Identify, PosteriorNoise

DATA = {"data": {"source": "a.npz"}}
IN_QUOTES = "LABEL:ANSWER in quotes (without, YAML reads 2:5 as the number 125)"


def problem(values, *settings):
    with pytest.raises(ConfigError) as caught:
        build_config({**DATA, **values}, settings, where="my.yaml")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_default_is_the_classes_own_defaults():
    config = build_config(DATA)
    assert config == Config.model_validate(DATA)
    assert config.identify == Identify()
    assert config.preset == "default"


def test_paper_changes_what_it_says_and_nothing_else():
    paper, default = build_config({**DATA, "preset": "paper"}), build_config(DATA)
    assert not paper.generator.conditional
    assert paper.identify.proposals == (BetaNoise(),)
    assert [gate.kind for gate in paper.identify.gates] == ["misclassified"]
    assert not paper.distill.per_pair
    assert not paper.distill.keep_only
    assert not paper.correct.kept_only
    assert {name for name in Config.model_fields if getattr(paper, name) != getattr(default, name)} == {
        "preset",
        *PRESETS["paper"],
    }


def test_later_wins():
    """Defaults, then preset, then file, then settings, each in turn."""
    config = build_config(
        {**DATA, "preset": "paper", "generator": {"beta": 3.0, "latent": 5}},
        ["generator.latent=6", "generator.latent=7", "identify.proposals=[{kind: posterior_noise, scale: 9}]"],
        defaults={"generator": {"beta": 1.5, "latent": 1, "width": 9, "conditional": True}},
    )
    assert (config.generator.beta, config.generator.latent, config.generator.width) == (3.0, 7, 9)
    assert not config.generator.conditional
    assert config.identify.proposals == (PosteriorNoise(scale=9),)


def test_settings_may_choose_the_preset_and_leave_the_file_as_it_is():
    values = {**DATA, "distill": {"min_support": 4}}
    config = build_config(values, ["preset=paper", "distill.mixture.max_components=9"])
    assert (config.distill.min_support, config.distill.mixture.max_components) == (4, 9)
    assert config.distill.mixture.covariance == "full"
    assert values == {**DATA, "distill": {"min_support": 4}}


def test_a_setting_s_value_may_hold_an_equals_sign():
    assert build_config({}, ["data.source=a=b.npz"]).data.source == "a=b.npz"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"idenitfy": {}}, "my.yaml: unknown key idenitfy; did you mean identify?"),
        ({"generator": {"lattent": 3}}, "my.yaml: unknown key generator.lattent; did you mean generator.latent?"),
        ({"classifier": {"training": {"epoch": 3}}}, "did you mean classifier.training.epochs?"),
        ({"label": {"machine": {"agrement": 1}}}, "did you mean label.machine.agreement?"),
        ({"distill": {"mixture": {"components": 3}}}, "did you mean distill.mixture.max_components?"),
        ({"identify": {"proposals": [{"kind": "beta_noise", "sclae": 1}]}}, "did you mean identify.proposals.0.scale?"),
        ({"identify": {"gates": [{"kind": "misclassified"}, {"kind": "keeps_label", "treshold": 1}]}},
         "unknown key identify.gates.1.treshold; did you mean identify.gates.1.threshold?"),
        ({"data": {"source": "a", "spilt": {}}}, "did you mean data.split?"),
    ],
)  # fmt: skip
def test_an_unknown_key_suggests_the_nearest(values, expected):
    assert expected in problem(values)


def test_an_unknown_key_far_from_all_suggests_nothing():
    assert problem({"generator": {"qqqq": 3}}) == "my.yaml: unknown key generator.qqqq"


def test_an_unknown_key_goes_before_a_wrong_type():
    assert "unknown key seeed" in problem({"generator": {"latent": "x"}, "seeed": 1})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"identify": {"budget": "many"}}, "identify.budget: Input should be a valid integer"),
        ({"identify": {"budget": 1.5}}, "identify.budget: Input should be a valid integer"),
        ({"identify": {"proposals": []}}, "identify.proposals: "),
        ({"identify": {"proposals": [{"kind": "gamma"}]}}, "identify.proposals.0: "),
        ({"identify": {"proposals": [{"kind": "beta_noise", "a": -1}]}}, "identify.proposals.0.a: "),
        ({"identify": {"proposals": "beta_noise"}}, "identify.proposals: "),
        ({"generator": None}, "generator: "),
        ({"generator": {"learning_rate": float("nan")}}, "generator.learning_rate: Input should be a finite number"),
        ({"preset": "papre"}, "preset: Input should be 'default' or 'paper', got 'papre'"),
        ({"preset": ["paper"]}, "preset: "),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0, got -1"),
        ({"judges": {"gate": ["cmm"]}}, "judges.gate.0: no built-in network is called 'cmm'"),
        ({"data": {}}, "data.source is missing; add it or use --set data.source=..."),
        ({"data": None}, "data: "),
        ({3: 4}, "3: "),
    ],
)
def test_a_wrong_value_is_named(values, expected):
    assert problem(values).startswith(f"my.yaml: {expected}")


def test_a_long_wrong_value_is_cut():
    assert len(problem({"seed": "9x" * 1000})) < 200


@pytest.mark.parametrize("setting", ["", "a", "=1", "seed"])
def test_a_setting_without_key_or_value_is_refused(setting):
    assert problem({}, setting).startswith(f"--set {setting}: expected key=value")


def test_a_pair_is_text_and_never_the_number_that_yaml_makes_of_it(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text('data: {source: a}\nidentify: {focus: "2:5"}\ncost: {pairs: {"2:5": 7, a b:c: 2}}\n', "utf-8")
    config = build_config(read_config(path))
    assert config.identify.focus == "2:5"
    assert config.cost.pairs == {"2:5": 7.0, "a b:c": 2.0}
    assert build_config(DATA, ['identify.focus="2:5"', "cost.pairs.2:5=3"]).cost.pairs == {"2:5": 3.0}
    assert build_config(DATA, ["cost.matrix=a/b.csv"]).cost.matrix == Path("a/b.csv")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("identify: {focus: 2:5}", f"identify.focus: expected {IN_QUOTES}, got 125"),
        ("identify: {focus: [2, 5]}", "identify.focus: Input should be a valid string, got [2, 5]"),
        ("cost: {pairs: {2:5: 3}}", f"cost.pairs: expected each {IN_QUOTES}, got {{125: 3}}"),
        ("cost: {pairs: {a:b: much}}", "cost.pairs.a:b: Input should be a valid number"),
        ("cost: {pairs: {a:b: -1}}", "cost.pairs.a:b: Input should be greater than or equal to 0, got -1"),
        ("cost: {pairs: {a:b: .nan}}", "cost.pairs.a:b: Input should be "),
        ("cost: {pairs: {a:b: .inf}}", "cost.pairs.a:b: Input should be "),
        ("cost: {matrix: 3}", "cost.matrix: "),
        ("cost: {matrx: a.csv}", "unknown key cost.matrx; did you mean cost.matrix?"),
    ],
)  # fmt: skip
def test_bad_input_costs_and_focus(text, expected):
    assert problem(yaml.safe_load(text)).startswith(f"my.yaml: {expected}")


def test_a_setting_is_yaml():
    assert "--set seed={1: the value is not valid YAML" in problem({}, "seed={1")
    assert build_config(DATA, ["label.machine=null"]).label.machine is None
    assert build_config(DATA, ["classifier.mean=[0.5, 0.5, 0.5]"]).classifier.mean == (0.5, 0.5, 0.5)


def test_plain_values_build_the_same_configuration_again(tiny):
    for config in (build_config({**DATA, "preset": "paper"}), tiny.build("classifier.weights=a/b.pt")):
        assert build_config(config.plain()) == config
        assert build_config(yaml.safe_load(yaml.safe_dump(config.plain()))) == config


def test_the_classifier_s_section_alone():
    settings = build_classifier_settings({"factory": "a:b"}, ["mean=[0.5]", "input_size=[3, 4]"], where="check")
    assert (settings.factory, settings.mean, settings.input_size) == ("a:b", (0.5,), (3, 4))
    with pytest.raises(ConfigError, match=r"check: unknown key classifier\.maen; did you mean classifier\.mean\?"):
        build_classifier_settings({}, ["maen=[0.5]"], where="check")


@pytest.mark.parametrize("source", ["signs", "a b.npz", 'odd "name": {x} # y.npz', "ümläut.npz"])
def test_the_starter_is_valid_and_short(tmp_path, source):
    path = tmp_path / "my.yaml"
    path.write_text(starter(source), encoding="utf-8")
    assert build_config(read_config(path)) == build_config({"data": {"source": source}})
    assert len(starter(source).splitlines()) <= 15


def test_read_config_names_the_file(tmp_path):
    cases = {"list.yaml": b"- 1\n", "broken.yaml": b"a: [", "empty.yaml": b"", "bytes.yaml": b"\xff\xfe\x80"}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    for name in [*cases, "missing.yaml"]:
        with pytest.raises(ConfigError, match=name) as caught:
            read_config(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(Path(tmp_path))


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "examples").glob("*.yaml")), ids=lambda p: p.name)
def test_every_example_is_a_configuration(path):
    config = build_config(read_config(path), where=path.name)
    assert config.preset == "default"
    for preset in PRESETS:
        assert build_config(read_config(path), [f"preset={preset}"]).preset == preset
