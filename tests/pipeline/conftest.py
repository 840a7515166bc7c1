import pytest
from threadpoolctl import threadpool_limits

from defuse.classifiers import TorchClassifier, build_network, load_weights
from defuse.inputs import read_splits
from defuse.rundir import RunDir
from tiny_run import make_finished, make_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    return make_finished(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def one_thread():
    """Runs are compared with the finished one to the last digit, and that was made on one thread."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def splits(tiny):
    return read_splits(tiny.build())


@pytest.fixture
def given(finished, splits):
    """The classifier of the finished run."""
    module = build_network("cnn", 1, 3, 16)
    load_weights(RunDir(finished.folder).classifier, module)
    return TorchClassifier(module, splits.class_names)
