"""Anything that the application's own description allows: never an error of the server."""

import pytest
from web_makers import ORIGIN, House

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

hypothesis = pytest.importorskip("hypothesis")
schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")

SENT = {"method", "url", "json", "params", "data"}


def check_operation(operation, person, seen):
    """Send what the description allows, and see that the server answers for each."""

    @hypothesis.settings(max_examples=60, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(case=operation.as_strategy())
    def call(case):
        request = case.as_transport_kwargs(base_url=ORIGIN)
        headers = {**dict(request["headers"] or {}), **person.headers}
        request = {key: value for key, value in request.items() if key in SENT}
        if "data" in request:
            request["content"] = request.pop("data")
        answer = person.browser.request(headers=headers, **request)
        seen.add((case.operation.path, answer.status_code))
        assert answer.status_code < 500, (case, answer.text)

    call()


def test_no_input_makes_the_server_fail(tmp_path):
    house = House(tmp_path)
    description = house.app.openapi()
    seen = set()
    for operation in schemathesis.openapi.from_dict(description).get_all_operations():
        check_operation(operation.ok(), house.person("ada"), seen)
    house.desk.close()
    assert {path for path, _ in seen} == set(description["paths"])
    assert {("/api/next", 200), ("/api/run", 200), ("/", 200)} <= seen
