"""An Open vSwitch of its own for every switch, in a network namespace of its own.

One daemon pair (``ovsdb-server``, ``ovs-vswitchd``) for each switch: a daemon polls the
ports of one switch only, and a chassis switch can die alone, as it would in a rack.
In the switch's own mount namespace its files are where Open vSwitch expects them, so
``ovs-vsctl show`` and ``ovs-ofctl dump-flows NAME`` need no options there; from the
sandbox the same files are in ``/run/openvswitch/NAME``.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mininet.node import Switch
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from topologies.processes import Process
from topologies.scripts import run_script, run_scripts

OVS_DIRECTORY = "/run/openvswitch"
DAEMONS = ("ovsdb-server", "ovs-vswitchd")

#: A daemon that is asked to end and does not within this time is killed.
STOP_TIMEOUT_S = 2.0

_OPTIONS = "--detach --no-chdir -vconsole:off -vsyslog:off"

#: Starts what is not running. Everything is in the database before ovs-vswitchd first
#: reads it: it comes up complete, and userspace-tso-enable is only read at that moment
#: (ovs-vswitchd.conf.db(5)). --detach returns when a daemon serves.
_START = """
cd {directory}
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
test -e conf.db || ovsdb-tool create conf.db
"""


@lru_cache
def datapath_kind() -> str:
    """``system`` where the kernel has Open vSwitch's datapath, else ``netdev``.

    Asking for the generic netlink family loads the module where there is one.
    """
    with GenericNetlinkSocket() as netlink:
        try:
            netlink.bind("ovs_datapath", None)
        except NetlinkError:
            return "netdev"
    return "system"
