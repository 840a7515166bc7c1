import pytest

from tiny_run import make_finished, make_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    return make_finished(tmp_path_factory.getbasetemp())
