"""``http``: nginx on every node over one shared object store, clients that PUT and GET."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace

from experiments.workloads.blocks import block_connections, region_options
from experiments.workloads.workload import ClientJob, Workload, program
from nodes.servers.http_server import (
    HTTP_PORT,
    HTTP_UNSUPPORTED,
    create_object_store,
    nginx_argv,
)
from nodes.servers.server_settings import KEEPALIVE, ServerSettings


def client(job: ClientJob) -> list[str]:
    """``nodes/clients/http_client.py`` on this client's own objects."""
    return [
        sys.executable,
        program("clients/http_client"),
        *job.shared_options(HTTP_PORT),
        *region_options(job),
    ]


def tune(settings: ServerSettings) -> Workload:
    """With keepalive on, if ``settings`` have times for it."""
    prepare = functools.partial(create_object_store, settings=settings)
    return replace(WORKLOAD, prepare=prepare)


WORKLOAD = Workload(
    name="http",
    summary="nginx over one shared store; clients PUT, GET back, reconnect",
    port=HTTP_PORT,
    prepare=create_object_store,
    server=nginx_argv,
    client=client,
    unsupported=HTTP_UNSUPPORTED,
    max_connections=block_connections,
    heeds=KEEPALIVE | {"retries"},
    tune=tune,
)
