import pytest
from threadpoolctl import threadpool_limits

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
