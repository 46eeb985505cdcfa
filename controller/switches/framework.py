"""The only file that differs between Ryu and os-ken: imports, workarounds, start-up.

os-ken continues Ryu under another name, with the same interface. All other modules import
the framework's parts from here. If Ryu is loaded already (under ``ryu-manager``), it is
Ryu; else os-ken if it is installed; else Ryu.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import logging
import os
import socket as sockets
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger("resetbed.controller")


def _choose() -> str:
    """Name of the framework's package."""
    if "ryu" in sys.modules or importlib.util.find_spec("os_ken") is None:
        return "ryu"
    return "os_ken"


FRAMEWORK = _choose()

if FRAMEWORK == "ryu":
    # Ryu 4.34 imports a name that eventlet has renamed since (0.30.3).
    _wsgi: Any = importlib.import_module("eventlet.wsgi")
    _wsgi.ALREADY_HANDLED = getattr(_wsgi, "ALREADY_HANDLED", object())


def _part(name: str) -> Any:
    """A module of the framework; untyped, as both frameworks are."""
    return importlib.import_module(f"{FRAMEWORK}.{name}")


app_manager = _part("base.app_manager")
hub = _part("lib.hub")
ofp_event = _part("controller.ofp_event")
ofproto = _part("ofproto.ofproto_v1_4")
parser = _part("ofproto.ofproto_v1_4_parser")
nicira_ext = _part("ofproto.nicira_ext")
MAIN_DISPATCHER = _part("controller.handler").MAIN_DISPATCHER
DEAD_DISPATCHER = _part("controller.handler").DEAD_DISPATCHER
_set_ev_cls = _part("controller.handler").set_ev_cls
_controller = _part("controller.controller")

#: Base class of applications; its name differs between the frameworks.
App: Any = getattr(app_manager, "RyuApp" if FRAMEWORK == "ryu" else "OSKenApp")


class _UnixStream:
    """A switch's connection over a UNIX socket; TCP options do not apply to it.

    Both frameworks set TCP_NODELAY on every connection and close it if that fails.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def setsockopt(self, level: int, *option: Any) -> None:
        if level != sockets.IPPROTO_TCP or self._stream.family != sockets.AF_UNIX:
            self._stream.setsockopt(level, *option)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Datapath(_controller.Datapath):  # type: ignore[misc, name-defined]
    """A datapath whose disconnect is detected.

    os-ken's native hub cannot stop a thread. The sending thread would wait forever on an
    empty queue, and the state would never become DEAD.
    """

    def __init__(self, stream: Any, address: Any) -> None:
        super().__init__(_UnixStream(stream), address)

    def _recv_loop(self) -> None:
        try:
            super()._recv_loop()
        finally:
            self.close()
            self.send(b"", close_socket=True)


def _serve_switch(stream: Any, address: Any) -> None:
    """The framework's connection handler, with our datapath class."""
    try:
        with contextlib.closing(_Datapath(stream, address)) as datapath:
            datapath.serve()
    except Exception:
        # The native hub does not report an exception that ends a thread.
        log.exception("the connection of a switch failed")
        raise


_controller.datapath_connection_factory = _serve_switch


class PrivateServer(hub.StreamServer):  # type: ignore[misc, name-defined]
    """A server at a UNIX socket that only its owner can connect to (unix(7)).

    The frameworks bind the socket themselves, so a temporary umask sets its mode. The
    umask belongs to the whole process, so a lock serialises the binds.
    """

    _binding = threading.Lock()

    def __init__(self, listen_info: Any, *arguments: Any, **options: Any) -> None:
        with self._binding:
            before = os.umask(0o177)
            try:
                super().__init__(listen_info, *arguments, **options)
            finally:
                os.umask(before)


_controller.StreamServer = PrivateServer


class FlowUpdate:
    """One element of a flow monitor reply: the kind of event and the table.

    The frameworks' own parser fails an assertion on all but one kind
    (``OFPFlowUpdateFull`` is registered for four, and compares with the last).
    """

    def __init__(self, length: int, event: int, table: int | None) -> None:
        """As in ``struct ofp_flow_update_header`` (OpenFlow 1.4, 7.3.5.18).

        ``table``: the table's number, in full updates only (``ofp_flow_update_full``).
        """
        self.length = length
        self.event = event
        self.table = table

    @classmethod
    def parser(cls, buffer: bytes, offset: int) -> FlowUpdate:
        """The element at ``offset``."""
        length, event = struct.unpack_from("!HH", buffer, offset)
        in_full = event in (
            ofproto.OFPFME_ADDED,
            ofproto.OFPFME_REMOVED,
            ofproto.OFPFME_MODIFIED,
        )
        return cls(length, event, buffer[offset + 4] if in_full else None)


parser.OFPFlowMonitorReply.cls_stats_body_cls = FlowUpdate


def handles(
    events: Any, dispatcher: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator for a method that handles those events; exceptions in it are logged.

    os-ken's native hub silently ends an app's event loop at the first exception. Here the
    exception is logged with its traceback and passed to the app's ``internal_error(text)``,
    so that later requests fail with it. The loop continues.
    """

    def decorate(handler: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(handler)
        def logged(self: Any, *arguments: Any) -> None:
            try:
                handler(self, *arguments)
            except Exception:
                log.exception("%s failed", handler.__name__)
                self.internal_error(traceback.format_exc())

        registered: Callable[..., None] = _set_ev_cls(events, dispatcher)(logged)
        return registered

    return decorate


def run(app: str, listen: Path) -> None:
    """Run the app of that module name; switches connect to the socket at ``listen``.

    Returns only when the framework ends.
    """
    listen.unlink(missing_ok=True)
    # The port is not used, but without one the framework opens a second listener, for
    # the old port number, at the same path.
    arguments = [f"--ofp-listen-host={listen}", "--ofp-tcp-listen-port=6653"]
    if FRAMEWORK == "ryu":
        _part("cmd.manager").main([*arguments, app], prog="ryu-manager")
        return
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    _part("cfg").CONF(arguments, project="resetbed")
    app_manager.AppManager.run_apps([app])
