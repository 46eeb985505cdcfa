"""The controller's control socket: JSON lines, one reply for each request.

========================================================= ==========================
request                                                   reply
========================================================= ==========================
``{"op": "apply", "state": {...}, "timeout_s": seconds}`` ``requested_s, applied_s,
                                                          settled_s, switches``
``{"op": "status"}``                                      ``switches``
a request that fails                                      ``{"ok": false, "error"}``
========================================================= ==========================
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from controller.service.reconciler import Reconciler
from controller.switches.framework import PrivateServer

log = logging.getLogger("resetbed.controller")

_TIMEOUT_S = 10.0


def serve(path: Path, reconciler: Reconciler) -> None:
    """Answer requests on a UNIX socket at ``path`` until the process ends."""
    path.unlink(missing_ok=True)

    def talk(stream: Any, address: object) -> None:
        with suppress(ConnectionError), stream, stream.makefile("rwb") as lines:
            for line in lines:
                lines.write(json.dumps(_answer(reconciler, line)).encode() + b"\n")
                lines.flush()

    PrivateServer((str(path), None), talk).serve_forever()


def _answer(reconciler: Reconciler, line: bytes) -> dict[str, Any]:
    """The reply to one request. Any failure is returned as an error reply."""
    try:
        request = json.loads(line)
        operation = _OPERATIONS[request["op"]]
        return {"ok": True, **operation(reconciler, request)}
    except Exception as error:
        log.exception("%r failed", line[:80])
        return {"ok": False, "error": str(error) or repr(error)}


def _apply(reconciler: Reconciler, request: Mapping[str, Any]) -> dict[str, Any]:
    state = ClusterState.from_json(request["state"])
    return reconciler.apply(state, float(request.get("timeout_s", _TIMEOUT_S)))


def _status(reconciler: Reconciler, request: Mapping[str, Any]) -> dict[str, Any]:
    return {"switches": reconciler.status()}


_OPERATIONS: dict[str, Callable[[Reconciler, Mapping[str, Any]], dict[str, Any]]] = {
    "apply": _apply,
    "status": _status,
}
