import pytest
from command_line import CommandLine

from tiny_run import make_finished, make_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    return make_finished(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def defuse():
    command_line = CommandLine()
    yield command_line
    command_line.close()
