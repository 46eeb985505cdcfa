"""No exception is hidden: it is logged, work continues, and later requests fail with it."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.service.control_server import serve
from controller.service.controller_client import ControllerClient, ControllerError
from controller.service.reconciler import Reconciler
from controller.switches.framework import MAIN_DISPATCHER, handles, ofp_event
from tests.controller.clusters import state
from tests.controller.switches import accepts, wait_until


class BrokenApp:
    """An application with a handler that fails."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def internal_error(self, text: str) -> None:
        """As :meth:`controller.service.app.LoadBalancerController.internal_error`."""
        self.errors.append(text)

    @handles(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)
    def on_answer(self, event: object) -> None:
        """Fail."""
        raise ZeroDivisionError(f"on {event}")


def test_a_handlers_exception_is_logged_and_reported_and_not_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = BrokenApp()
    app.on_answer("a barrier reply")
    assert "on_answer failed" in caplog.text
    assert "ZeroDivisionError: on a barrier reply" in caplog.text
    assert "ZeroDivisionError" in app.errors[0]


@pytest.fixture
def reconciler() -> Reconciler:
    """A running reconciler without switches."""
    reconciler = Reconciler(state(), None)
    threading.Thread(target=reconciler.run, daemon=True).start()
    return reconciler


@pytest.fixture
def client(reconciler: Reconciler, tmp_path: Path) -> Iterator[ControllerClient]:
    """A client of that reconciler."""
    path = tmp_path / "controller.sock"
    threading.Thread(target=serve, args=(path, reconciler), daemon=True).start()
    wait_until(lambda: accepts(path), "the control socket")
    yield ControllerClient(path)


def test_the_reconcilers_own_failure_is_reported(
    reconciler: Reconciler, client: ControllerClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert not client.status()["fabric"].connected
    # Not a datapath: the reconciler's thread fails on it.
    reconciler.connected(object())
    wait_until(lambda: "reconciler failed" in caplog.text, "the failure is logged")
    with pytest.raises(ControllerError, match="internal error of the controller"):
        client.status()
    with pytest.raises(ControllerError, match="internal error of the controller"):
        client.apply(state())


def test_a_pending_request_fails_with_the_reconciler(
    reconciler: Reconciler, client: ControllerClient
) -> None:
    failures: list[ControllerError] = []

    def request() -> None:
        with pytest.raises(ControllerError) as caught:
            client.apply(state(), timeout_s=60)
        failures.append(caught.value)

    waiting = threading.Thread(target=request)
    waiting.start()
    wait_until(lambda: reconciler._requests, "the request is pending")
    reconciler.connected(object())
    waiting.join(10)
    assert "AttributeError" in str(failures[0])


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (b"hello", "Expecting value"),
        (b"[]", "list indices"),
        (b'{"op": "destroy"}', "destroy"),
        (b'{"op": "apply"}', "state"),
        (b'{"op": "apply", "state": {"plan": {}}}', "nodes_per_chassis"),
    ],
    ids=["not JSON", "not an object", "unknown", "no state", "half a state"],
)
def test_a_bad_request_gets_an_error_reply(
    client: ControllerClient, request_: bytes, error: str, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(tmp_path / "controller.sock"))
        for _ in range(2):  # and the connection is still good
            stream.sendall(request_ + b"\n")
            reply = json.loads(stream.makefile().readline())
            assert not reply["ok"]
            assert error in reply["error"]
    assert client.status()


def test_a_missing_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(ControllerError, match=r"none\.sock"):
        ControllerClient(tmp_path / "none.sock").status()


def test_switches_out_of_sync_are_named(client: ControllerClient) -> None:
    logging.getLogger("resetbed.controller").info("nothing will connect")
    with pytest.raises(ControllerError, match="'fabric': SwitchStatus"):
        client.wait_in_sync(timeout_s=0.05)
