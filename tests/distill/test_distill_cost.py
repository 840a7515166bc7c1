import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from defuse.distill import Cost, default_costs, mean_cost
from defuse.errors import ConfigError
from defuse.records import Evidence, Rate

NAMES = ("speed 50", "60", "stop; or go")
COSTS = np.array([[0, 1, 2.5], [4, 0, 1e3], [6, 7, 0]])

BARE = "0,1,2.5\n4,0,1e3\n6,7,0\n"
NAMED = ",speed 50,60,stop; or go\nspeed 50,0,1,2.5\n60,4,0,1000\nstop; or go,6,7,0\n"
SHUFFLED = 'true \\ answer,60,"stop; or go", speed 50 \nstop; or go,7,0,6\nspeed 50,1,2.5,0\n\n60,0,1000,4\n'


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def resolve(path, **changes):
    return Cost(matrix=path, **changes).resolve(NAMES)


@pytest.mark.parametrize(
    "text",
    [
        BARE,
        BARE.replace("\n", "\r\n").removesuffix("\r\n"),
        "\ufeff" + BARE.replace(",", ", "),
        BARE.replace(",", ";"),
        NAMED,
        SHUFFLED,
        '"";"60";"stop; or go";"speed 50"\n"stop; or go";7;0;6\n"speed 50";1;2.5;0\n"60";0;1000;4\n',
    ],
)
def test_a_table_means_the_same_however_it_is_written(tmp_path, text):
    assert np.array_equal(resolve(write(tmp_path / "costs.csv", text)), COSTS)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint16])
def test_an_array_is_taken_as_it_is(tmp_path, dtype):
    np.save(tmp_path / "costs.npy", np.asfortranarray(COSTS.astype(dtype)))
    costs = resolve(tmp_path / "costs.npy")
    assert np.array_equal(costs, COSTS.astype(dtype))
    assert costs.dtype == np.float64


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    rows=st.lists(st.lists(st.floats(0, 1e9), min_size=4, max_size=4), min_size=4, max_size=4),
    order=st.permutations(range(4)),
    across=st.permutations(range(4)),
)
def test_a_named_table_may_have_any_order(tmp_path, rows, order, across):
    costs = np.array(rows) * default_costs(4)
    names = ("0", "1", "2", "3")
    lines = [
        ["", *(names[k] for k in across)],
        *([names[i], *(repr(float(costs[i, k])) for k in across)] for i in order),
    ]
    path = write(tmp_path / "costs.csv", "\n".join(map(",".join, lines)))
    assert np.array_equal(Cost(matrix=path).resolve(names), costs)


def test_by_default_every_wrong_answer_costs_one():
    assert np.array_equal(Cost().resolve(NAMES), [[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    assert not Cost().given


def test_pairs_override_single_entries(tmp_path):
    pairs = {"speed 50:60": 10, "2:0": 0, " 60 : stop; or go ": 0.5}
    expected = [[0, 10, 1], [1, 0, 0.5], [0, 1, 0]]
    assert np.array_equal(Cost(pairs=pairs).resolve(NAMES), expected)
    costs = resolve(write(tmp_path / "costs.csv", NAMED), pairs={"60:speed 50": 3})
    assert np.array_equal(costs, [[0, 1, 2.5], [3, 0, 1e3], [6, 7, 0]])
    assert Cost(pairs=pairs).given


def test_the_mean_cost_is_counted_over_kept_samples():
    evidence = Evidence(Rate(10, 30), Rate(7, 10), ((2, 4), (0, 3), (1, 3)), 0.01, 0.01)
    assert mean_cost(evidence, 0, COSTS) == pytest.approx((4 * 2.5 + 3 * 1) / 10)
    assert mean_cost(evidence, 0, default_costs(3)) == evidence.failure.value
    nothing = Evidence(Rate(0, 30), Rate(0, 0), (), 1.0, 1.0)
    assert mean_cost(nothing, 0, COSTS) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,1\n1,0\n", "column of class names), got 2 x 2 cells"),
        ("0,1,1\n1,0,1\n", "got 2 x 3 cells"),
        ("0,1,1\n1,0\n1,1,0\n", "got 3 x 2 to 3 cells"),
        (BARE * 2, "got 6 x 3 cells"),
        ("", "got 0 x 0 cells"),
        (BARE.replace(",", "\t"), "got 3 x 1 cells"),
        (BARE.replace("2.5", "-2.5"), "expected costs from 0 to 1e+09, got -2.5 for 'speed 50' read as 'stop; or go'"),
        (BARE.replace("1e3", "nan"), "expected costs from 0 to 1e+09, got nan for '60' read as 'stop; or go'"),
        (BARE.replace("1e3", "inf"), "expected costs from 0 to 1e+09, got inf for '60' read as 'stop; or go'"),
        (BARE.replace("1e3", "2e9"), "expected costs from 0 to 1e+09, got 2e+09"),
        (BARE.replace("7,0", "7,8"), "expected 0 for every right answer (the diagonal), got 8 for 'stop; or go'"),
        (BARE.replace("1e3", "much"), "line 2, column 3: expected a number, got 'much'"),
        (BARE.replace("0,1,", "x,1,"), "line 1, column 1: expected a number, got 'x'"),
        (BARE.replace("4,", ","), "line 2, column 1: expected a number, got ''"),
        (NAMED.replace("1000", "much"), "line 3, column 4: expected a number, got 'much'"),
        (NAMED.replace("4,0,1000", "4,0"), "line 3: expected 4 cells, got 3"),
        (NAMED.replace("60,stop", "06,stop"), "line 1: unknown class '06'; did you mean '60'?"),
        (NAMED.replace("\n60", "\nsped 50"), "line 3, column 1: unknown class 'sped 50'; did you mean 'speed 50'?"),
        (NAMED.replace("\n60", "\nqqqq"), "line 3, column 1: unknown class 'qqqq'; use one of the 3 class names"),
        (NAMED.replace("\n60", "\nspeed 50"), "line 3, column 1: class 'speed 50' is there twice"),
        (",speed 50,60\nspeed 50,0,1\n60,4,0\n", "no costs for class 'stop; or go'; name all 3 classes"),
        (",speed 50,stop; or go\nspeed 50,0,1\nstop; or go,4,0\n", "no costs for class '60'; name all 3 classes"),
        (b"\xff\xfe\x00\x80", "cannot be read ("),
        ('0,1,"1\n', "line 1: no valid CSV"),
        (BARE.replace("1e3", "x" * 1000), "got 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'"),
    ],
)  # fmt: skip
def test_bad_input_table(tmp_path, text, expected):
    path = write(tmp_path / "costs.csv", text)
    with pytest.raises(ConfigError) as caught:
        resolve(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((2, 3)), "expected 3 x 3 costs, true classes down and answers across (a CSV file may add"),
        (np.zeros((3, 3, 1)), "got shape (3, 3, 1)"),
        (np.float64(3), "got shape ()"),
        (np.full((3, 3), "a"), "expected an array of numbers, got <U1"),
        (np.zeros((3, 3), dtype=complex), "expected an array of numbers, got complex128"),
        (default_costs(3) * np.nan, "got nan for 'speed 50' read as 'speed 50'"),
        (-default_costs(3), "got -1 for 'speed 50' read as '60'"),
        (np.ones((3, 3)), "expected 0 for every right answer (the diagonal), got 1 for 'speed 50'"),
    ],
)
def test_bad_input_array(tmp_path, array, expected):
    np.save(tmp_path / "costs.npy", array)
    with pytest.raises(ConfigError) as caught:
        resolve(tmp_path / "costs.npy")
    assert str(caught.value).startswith(f"{tmp_path / 'costs.npy'}: ")
    assert expected in str(caught.value)


class Code:
    def __reduce__(self):
        return pytest.fail, ("an array was unpickled",)


def test_bad_input_array_is_never_unpickled(tmp_path):
    np.save(tmp_path / "costs.npy", np.array([[Code()]], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match=r"costs\.npy: cannot be read \(Object arrays cannot be loaded"):
        resolve(tmp_path / "costs.npy")


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00", b"PK\x03\x04"])
def test_bad_input_array_that_is_none(tmp_path, content):
    path = write(tmp_path / "costs.npy", content)
    with pytest.raises(ConfigError, match=r"costs\.npy: ") as caught:
        resolve(path)
    assert "\n" not in str(caught.value)


def test_bad_input_array_of_a_size_that_no_memory_holds(tmp_path):
    np.save(tmp_path / "costs.npy", COSTS)
    whole = (tmp_path / "costs.npy").read_bytes()
    path = write(tmp_path / "huge.npy", whole.replace(b"(3, 3), }" + b" " * 12, b"(3" + b"0" * 12 + b", 3), }"))
    assert path.stat().st_size == len(whole)
    with pytest.raises(ConfigError, match=r"huge\.npy: cannot be read"):
        resolve(path)


@pytest.mark.parametrize("name", ["costs.csv", "costs.npy"])
def test_bad_input_file_that_is_missing_or_a_folder(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(ConfigError, match=r"costs\.\w+: not found; cost\.matrix names a CSV file or a \.npy file"):
        resolve(path)
    path.mkdir()
    with pytest.raises(ConfigError, match=r"costs\.\w+: cannot be read \(Is a directory\)"):
        resolve(path)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ({"60": 1}, "expected LABEL:ANSWER"),
        ({"60:sped 50": 1}, "unknown class 'sped 50'; did you mean 'speed 50'?"),
        ({"60:60": 1}, "expected two different classes"),
        ({"60:0": 1, "60:speed 50": 2}, "'60:0' and '60:speed 50' are the same pair; drop one"),
    ],
)
def test_bad_input_pairs(pairs, expected):
    with pytest.raises(ConfigError) as caught:
        Cost(pairs=pairs).resolve(NAMES)
    assert str(caught.value).startswith(f"cost.pairs: {expected}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"pairs": {"60:0": -1}},
        {"pairs": {"60:0": float("nan")}},
        {"pairs": {"60:0": float("inf")}},
        {"pairs": {"60:0": 1e10}},
        {"pairs": {"60:0": "much"}},
        {"pairs": {125: 1}},
        {"pairs": ["60:0"]},
        {"matrix": 3},
        {"matrx": "a"},
    ],
)
def test_bad_input_settings_of_cost(wrong):
    with pytest.raises(ValidationError):
        Cost(**wrong)
