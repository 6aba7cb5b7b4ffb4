"""The API against its own OpenAPI document: whatever is sent, the answer is one that the document names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from tests.services.conftest import server_database
from understudy.services.api.app import make_app
from understudy.services.queue.settings import ServerSettings

schemathesis = pytest.importorskip("schemathesis")
requests = pytest.importorskip("requests")  # comes with it
from schemathesis.specs.openapi import checks  # noqa: E402

# not among them: that what is valid by the document is accepted. Random bytes are no song
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
]
EXAMPLES = int(os.environ.get("UNDERSTUDY_FUZZ", "5"))  # of each operation


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    limits = {"jobs_queued": 10000, "requests_a_minute": 10**6}
    database = server_database(request)
    chosen = ServerSettings(
        data=tmp_path_factory.mktemp("schema"), database=database, workers=0, device="cpu", **limits
    )
    with TestClient(make_app(chosen), "http://127.0.0.1", raise_server_exceptions=False) as found:
        yield found


@pytest.mark.slow
def test_every_answer_is_in_the_document(client: TestClient):
    document = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    count = 0
    for found in document.get_all_operations():
        operation = found.ok()
        count += 1

        @given(case=operation.as_strategy())
        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
        def check(case) -> None:
            arguments = case.as_transport_kwargs(base_url="http://127.0.0.1")
            allowed = ("method", "url", "headers", "params", "data", "json", "files", "cookies")
            sent = requests.Request(**{name: arguments.get(name) for name in allowed}).prepare()
            answer = client.request(str(sent.method), str(sent.url), content=sent.body, headers=dict(sent.headers))
            assert answer.status_code < 500 or answer.status_code == 507, (case, answer.text)
            case.validate_response(answer, checks=CHECKS)

        check()
    assert count > 25


def test_incoming_files_are_gone_afterwards(client: TestClient):
    app: Any = client.app
    folder: Path = app.state.services.incoming
    assert list(folder.iterdir()) == []
