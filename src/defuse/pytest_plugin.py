"""A pytest plugin: one test for each region of a regression suite.

    pytest --defuse-suite SUITE --defuse-classifier module:function [--defuse-weights FILE] [--defuse-set KEY=VALUE]

The tests come beside whatever else pytest collects. Without ``--defuse-suite`` the plugin does nothing and loads
nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from defuse.errors import DefuseError

if TYPE_CHECKING:
    from defuse.classifiers import Classifier
    from defuse.outcomes import Suite


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("defuse", "regression suites of image classifiers")
    group.addoption("--defuse-suite", metavar="FOLDER", help="folder of a suite: one test for each of its regions")
    group.addoption("--defuse-classifier", metavar="MODULE:FUNCTION", help="what returns the model under test")
    group.addoption("--defuse-weights", metavar="FILE", help="weights to load into it")
    group.addoption(
        "--defuse-set", action="append", default=[], metavar="KEY=VALUE", help="preprocessing, such as mean=[0.5]"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest collect the suite too.

    Raises:
        pytest.UsageError: there is no suite, or no classifier was named.
    """
    path = _description(config)
    if path is None:
        return
    if config.getoption("defuse_classifier") is None:
        raise pytest.UsageError("--defuse-suite: expected --defuse-classifier module:function too, got none")
    if not path.is_file():
        raise pytest.UsageError(f"--defuse-suite: {path} not found; give the folder of a suite that defuse wrote")
    if str(path) not in config.args:
        config.args.append(str(path))


def _description(config: pytest.Config) -> Path | None:
    folder = config.getoption("defuse_suite")
    return None if folder is None else config.invocation_params.dir / folder / "suite.json"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "SuiteFile | None":
    """Collect the suite that was named, and no other."""
    path = _description(parent.config)
    if path is None or file_path.name != path.name or file_path.resolve() != path.resolve():
        return None
    made: SuiteFile = SuiteFile.from_parent(parent, path=file_path)
    return made


class SuiteFile(pytest.File):
    """The suite: a test for each region."""

    def collect(self) -> Iterator["RegionTest"]:
        """Load suite and classifier."""
        from defuse.checking import suite_classifier  # noqa: PLC0415 -- torch only where it is asked for
        from defuse.correct import load_suite  # noqa: PLC0415 -- as above

        option = self.config.getoption
        try:
            suite = load_suite(self.path.parent)
            weights = option("defuse_weights")
            classifier = suite_classifier(
                suite,
                factory=option("defuse_classifier"),
                weights=None if weights is None else Path(weights),
                changes=option("defuse_set"),
                where="--defuse-set",
            )
        except DefuseError as error:
            raise self.CollectError(str(error)) from None
        for case in suite.cases:
            yield RegionTest.from_parent(self, name=case.region, suite=suite, classifier=classifier)


class RegionTest(pytest.Item):
    """One region: the classifier may misread at most so many of its images."""

    def __init__(self, *, suite: "Suite", classifier: "Classifier", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.suite = suite
        self.classifier = classifier

    def runtest(self) -> None:
        """Classify the region's images; a region that people accepted is expected to fail."""
        from defuse.correct import check  # noqa: PLC0415 -- as above

        cases = tuple(case for case in self.suite.cases if case.region == self.name)
        (result,) = check(type(self.suite)(self.suite.class_names, cases), self.classifier)
        if result.blocks:
            raise RegionFailedError(result.sentence)
        if not result.passed:
            pytest.xfail(result.sentence)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Say in one line what failed; a stack would tell nothing of the model."""
        if isinstance(excinfo.value, DefuseError | RegionFailedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name the region and its bug."""
        from defuse.correct.suite import case_title  # noqa: PLC0415 -- as above

        case = next(case for case in self.suite.cases if case.region == self.name)
        return self.path, None, f"{self.name}: {case_title(case, self.suite.class_names)}"


class RegionFailedError(Exception):
    """A region on which the model errs more often than the suite allows."""
