import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from defuse.classes import ClassPair, find_class, read_pair
from defuse.errors import ConfigError

SIGNS = ("20", "30", "50", "stop", "no entry", "Bend: left")

CLASS_NAMES = st.lists(st.text(max_size=5).filter(str.strip), min_size=2, max_size=6, unique_by=str.strip).map(tuple)


@given(names=CLASS_NAMES, data=st.data())
def test_every_pair_of_names_is_read_as_itself_or_called_ambiguous(names, data):
    label, answer = data.draw(st.permutations(range(len(names))))[:2]
    text = f"{names[label]}:{names[answer]}"
    if text.count(":") == 1:
        assert read_pair(text, names, "focus") == ClassPair(label, answer)
        return
    try:
        assert read_pair(text, names, "focus") == ClassPair(label, answer)
    except ConfigError as error:
        message = str(error)
    else:
        return
    assert "more than one way" in message


@given(names=CLASS_NAMES, data=st.data())
def test_indices_serve_where_no_name_fits(names, data):
    assume(not {name.strip() for name in names} & set(map(str, range(len(names)))))
    label, answer = data.draw(st.permutations(range(len(names))))[:2]
    assert read_pair(f" {label} : {answer} ", names, "focus") == ClassPair(label, answer)


@given(text=st.text(max_size=12), names=CLASS_NAMES)
def test_bad_input_any_text_is_a_pair_or_one_line(text, names):
    try:
        pair = read_pair(text, names, "focus")
    except ConfigError as error:
        message = str(error)
    else:
        assert pair.label != pair.answer
        return
    assert message.startswith("focus: ")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50:30", (2, 1)),
        ("50 : no entry", (2, 4)),
        ("stop:2", (3, 2)),  # no class is called 2
        ("Bend: left:stop", (5, 3)),
        ("4:Bend: left", (4, 5)),
    ],
)
def test_names_may_hold_spaces_and_colons(text, expected):
    assert read_pair(text, SIGNS, "focus") == ClassPair(*expected)


def test_a_name_goes_before_an_index():
    assert [find_class(text, ("1", "0", "x")) for text in ("0", "1", "2", "3", "-1", "x ", "")] == [
        1, 0, 2, None, None, 2, None,
    ]  # fmt: skip
    assert find_class(" x", ("x", " x")) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50", "expected LABEL:ANSWER, two classes with a colon between, got '50'"),
        ("", "expected LABEL:ANSWER, two classes with a colon between, got ''"),
        ("50:Stpo", "unknown class 'Stpo'; did you mean 'stop'? (in '50:Stpo')"),
        ("NO ENTRI:50", "unknown class 'NO ENTRI'; did you mean 'no entry'?"),
        ("Bend: lft:50", "unknown class 'Bend: lft'; did you mean 'Bend: left'?"),
        ("50:", "unknown class ''; use one of the 6 class names, or 0 to 5"),
        ("6:50", "unknown class '6'; use one of the 6 class names, or 0 to 5"),
        ("50:2", "expected two different classes, got '50:2'; a right answer is no error"),
        ("50:50", "expected two different classes, got '50:50'"),
    ],
)
def test_bad_input_pair(text, expected):
    with pytest.raises(ConfigError) as caught:
        read_pair(text, SIGNS, "identify.focus")
    assert str(caught.value).startswith(f"identify.focus: {expected}")


def test_bad_input_pair_with_two_readings():
    with pytest.raises(ConfigError, match=r"'a:b:c' can be read in more than one way; write class indices"):
        read_pair("a:b:c", ("a", "b:c", "a:b", "c"), "focus")
