import pytest


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--data: mnist needs mnist.npz; give the folder that holds it"),
        (["--data", "nowhere"], "nowhere/mnist.npz: not found; give the folder that holds mnist.npz as --data"),
        (["--tasks", "thin-7"], "--tasks: no task is called 'thin-7'; choose from thin-6-as-1, "),
        (["--methods", "magic"], "--methods: no method is called 'magic'; choose from default, paper, "),
        (["--levels", "half"], "--levels: no level is called 'half'; choose from seen, unseen"),
        (
            ["--tasks", "signs-dark-50-as-80", "--set", "identify.budgte=3"],
            "yours: unknown key identify.budgte; did you mean identify.budget?",
        ),
    ],
)
def test_bad_input_is_one_line_before_any_work(defuse, tmp_path, arguments, expected):
    line = defuse("bench", "planted", "--out", tmp_path / "out", *arguments, cwd=tmp_path).complaint
    assert expected in line
    assert not (tmp_path / "out").exists()
