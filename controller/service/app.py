"""The application that Ryu and os-ken run: passes messages to the reconciler.

The same file works with both. ``python -m controller --listen SOCKET`` starts it under the
installed framework; ``ryu-manager --ofp-listen-host SOCKET controller/service/app.py``
starts it under Ryu. Configuration: see :mod:`controller.service.config`.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from controller.pipeline.cluster_state import ClusterState
from controller.service import control_server as control
from controller.service.config import Config
from controller.service.reconciler import Reconciler
from controller.service.trapped_resets import TrapSender
from controller.switches.framework import (
    DEAD_DISPATCHER,
    MAIN_DISPATCHER,
    App,
    handles,
    hub,
    ofp_event,
    ofproto,
)
from controller.switches.openflow import is_foreign

log = logging.getLogger("resetbed.controller")


class LoadBalancerController(App):  # type: ignore[misc]
    """Starts the reconciler. Its handlers pass messages on and never block."""

    OFP_VERSIONS: ClassVar[list[int]] = [ofproto.OFP_VERSION]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Read the configuration, and the state file if it exists."""
        super().__init__(*args, **kwargs)
        self._config = Config.from_environment()
        path = self._config.state
        state = ClusterState.read(path) if path.exists() else None
        self._reconciler = Reconciler(state, self._config.control_socket)
        guards = self._config.guards
        self._trap_sender = TrapSender(guards) if guards else None

    def start(self) -> None:
        """Called by the framework when every application is loaded."""
        super().start()
        hub.spawn(self._reconciler.run)
        hub.spawn(control.serve, self._config.socket, self._reconciler)
        if self._trap_sender:
            hub.spawn(self._trap_sender.run)

    def internal_error(self, text: str) -> None:
        """A handler has failed; see :func:`controller.switches.framework.handles`."""
        self._reconciler.internal_error(text)

    @handles(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def on_state_change(self, event: Any) -> None:
        """A switch has finished the handshake, or has disconnected."""
        if event.state == MAIN_DISPATCHER:
            self._reconciler.connected(event.datapath)
        else:
            self._reconciler.disconnected(event.datapath)

    @handles(
        [
            ofp_event.EventOFPFlowStatsReply,
            ofp_event.EventOFPBarrierReply,
            ofp_event.EventOFPErrorMsg,
        ],
        MAIN_DISPATCHER,
    )
    def on_answer(self, event: Any) -> None:
        """A reply to a request of the reconciler."""
        session = self._reconciler.session(event.msg.datapath)
        if session:
            session.handle_message(event.msg)
        else:
            log.warning("unexpected reply %s", event.msg)

    @handles(ofp_event.EventOFPFlowMonitorReply, MAIN_DISPATCHER)
    def on_flow_update(self, event: Any) -> None:
        """Flow entries have changed: by our requests or by others."""
        if any(map(is_foreign, event.msg.body)):
            self._reconciler.changed_by_others(event.msg.datapath)

    @handles(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def on_packet_in(self, event: Any) -> None:
        """A reset that the fabric traps for the policy. Nothing else is trapped."""
        if self._trap_sender:
            self._trap_sender.enqueue(event.msg.data)
        else:
            log.warning("a reset was trapped, but no guard socket is configured")
