"""The page's server: what it refuses, and what it streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from experiments.cluster.control import ControlError
from experiments.watch.page_guard import HEADERS
from experiments.watch.seen_resets import SeenReset
from experiments.watch.view_hub import ViewHub
from experiments.watch.watch_server import MAX_BODY_BYTES, PageRequests, page_app
from tests.experiments.watch.recorded_feed import connection

PORT, TOKEN = 4711, "the-token"
HERE = f"http://127.0.0.1:{PORT}"
DRAIN = {"kind": "drain-node", "target": "c1n1"}
RESET = SeenReset(connection(40001), "h1", "c1n1", "c1n2", 10**18, 10**18 + 10**6)


class Cluster:
    """Takes events in place of a cluster."""

    def __init__(self) -> None:
        self.hub = ViewHub()
        self.caused: list[tuple[str, str]] = []
        self.error: Exception | None = None

    def cause(self, kind: str, target: str) -> None:
        if self.error:
            raise self.error
        self.caused.append((kind, target))

    def show(self, phase: str) -> None:
        self.hub.publish({"serial": 1, "t": 1.0, "phase": phase, "message": "a word"})


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.show("up")
    return cluster


@contextmanager
def client_of(cluster: Cluster, base: str = HERE) -> Iterator[TestClient]:
    requests = PageRequests(cluster.hub, cluster.cause, {7: RESET}.get)
    with TestClient(
        page_app(requests, PORT, TOKEN), base_url=base, follow_redirects=False
    ) as client:
        yield client


@pytest.fixture
def page(cluster: Cluster) -> Iterator[TestClient]:
    """One that has opened the address with the token."""
    with client_of(cluster) as client:
        assert client.get(f"/?token={TOKEN}").status_code == 303
        yield client


def post(
    client: TestClient, origin: str = HERE, body: object = DRAIN
) -> tuple[int, str]:
    answer = client.post("/event", json=body, headers={"Origin": origin})
    return answer.status_code, answer.text


def test_the_token_becomes_a_cookie_and_leaves_the_address(cluster: Cluster) -> None:
    with client_of(cluster) as client:
        answer = client.get(f"/?token={TOKEN}")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert str(PORT) in cookie.partition("=")[0]
        assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/stream", "/page/index.html", "/ladder/7.svg", "/?token=other", "/?token="],
)
def test_nothing_is_given_without_the_token(cluster: Cluster, path: str) -> None:
    with client_of(cluster) as client:
        answer = client.get(path)
        assert answer.status_code == 403
        assert answer.text.count(".") >= 1 and "\n" not in answer.text.strip()
        assert post(client)[0] == 403
    assert cluster.caused == []


@pytest.mark.parametrize(
    "base",
    ["http://attacker.example:4711", "http://127.0.0.1:4712", "http://127.0.0.1"],
)
def test_another_host_name_is_refused_with_the_token(
    cluster: Cluster, base: str
) -> None:
    """DNS rebinding: another site's name leads to loopback, with that site's cookies."""
    with client_of(cluster, base) as client:
        assert client.get(f"/?token={TOKEN}").status_code == 403
        cookie = {"Cookie": f"resetbed-watch-{PORT}={TOKEN}"}
        assert client.get("/", headers=cookie).status_code == 403


def test_the_page_may_be_called_localhost(cluster: Cluster) -> None:
    base = f"http://localhost:{PORT}"
    with client_of(cluster, base) as client:
        assert client.get(f"/?token={TOKEN}").status_code == 303
        assert post(client, base)[0] == 200


@pytest.mark.parametrize("origin", ["http://attacker.example", "null", "", HERE + "1"])
def test_another_page_cannot_cause_an_event(
    cluster: Cluster, page: TestClient, origin: str
) -> None:
    assert post(page, origin)[0] == 403
    assert page.post("/event", json=DRAIN).status_code == 403  # no Origin at all
    assert cluster.caused == []


def test_a_form_cannot_cause_an_event(cluster: Cluster, page: TestClient) -> None:
    headers = {"Origin": HERE, "Content-Type": "text/plain"}
    answer = page.post("/event", content=json.dumps(DRAIN), headers=headers)
    assert answer.status_code == 415
    assert cluster.caused == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "drain",
        {"kind": 1, "target": "c1n1"},
        {"kind": "x" * MAX_BODY_BYTES, "target": ""},
    ],
)
def test_what_is_no_event_is_refused(
    cluster: Cluster, page: TestClient, body: object
) -> None:
    assert post(page, body=body)[0] == 400
    assert cluster.caused == []


def test_an_event_is_caused(cluster: Cluster, page: TestClient) -> None:
    assert post(page) == (200, '{"ok":true}')
    assert cluster.caused == [("drain-node", "c1n1")]


def test_what_the_cluster_refuses_is_told(cluster: Cluster, page: TestClient) -> None:
    cluster.error = ControlError("c1n1 is drained, not in service", 2)
    status, text = post(page)
    assert status == 409 and "not in service" in json.loads(text)["error"]
    assert post(page, body={"kind": "explode", "target": "c1"})[0] == 409
    cluster.error = ConnectionRefusedError("nobody listens")
    assert post(page)[0] == 503


@pytest.mark.parametrize(
    ("phase", "status"), [("run", 409), ("absent", 503), ("starting", 503)]
)
def test_only_a_cluster_that_runs_takes_events(
    cluster: Cluster, page: TestClient, phase: str, status: int
) -> None:
    cluster.show(phase)
    assert post(page)[0] == status
    assert cluster.caused == []


def test_every_answer_has_the_headers_that_keep_others_out(
    cluster: Cluster, page: TestClient
) -> None:
    with client_of(cluster) as stranger:
        answers = [page.get("/"), page.get("/nothing"), stranger.get("/")]
    assert [answer.status_code for answer in answers] == [200, 404, 403]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value


def test_no_file_outside_the_pages_folder_is_served(page: TestClient) -> None:
    for path in ("/page/../watch_server.py", "/page/%2e%2e/watch_server.py"):
        assert page.get(path).status_code == 404
    assert page.get("/page/index.html").status_code == 200


def test_a_ladder_that_was_shown_is_drawn(page: TestClient) -> None:
    answer = page.get("/ladder/7.svg")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert "c1n1 frees the connection" in answer.text
    assert page.get("/ladder/8.svg").status_code == 404


def test_a_stream_begins_with_the_history_and_a_slow_reader_skips_views() -> None:
    def numbered(serial: int) -> dict[str, object]:
        return {"serial": serial, "t": float(serial), "log": [1], "possible": []}

    async def read() -> list[str]:
        hub = ViewHub()
        hub.bind(asyncio.get_running_loop())
        for serial in (1, 2):
            hub.publish(numbered(serial))
        stream = hub.stream()
        parts = [await anext(stream)]
        for serial in (3, 4):
            hub.publish(numbered(serial))
        parts.append(await anext(stream))
        hub.close()
        return [*parts, *[part async for part in stream]]

    history, view, *rest = asyncio.run(read())
    event, number, data, *_ = history.split("\n")
    assert (event, number) == ("event: history", "id: 2")
    assert [one["serial"] for one in json.loads(data[6:])] == [1, 2]
    assert [one["log"] for one in json.loads(data[6:])] == [[], [1]]
    assert view.startswith("event: view\nid: 4\n")
    assert rest == []
