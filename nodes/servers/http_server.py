"""HTTP server of a storage node: nginx on the store that all nodes share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nodes.servers.server_settings import AS_SHIPPED, KEEPALIVE, ServerSettings

HTTP_PORT = 80

#: Traffic patterns that the protocol does not support, with the reason.
HTTP_UNSUPPORTED: Mapping[str, str] = {
    "pipelined": "HTTP/1.1 clients wait for each answer (h11 does not pipeline)",
    "half-closed": "a client that has shut down its side cannot send a request",
}

#: One process in the foreground, so that killing it ends everything. Timeouts and the
#: limit of requests per connection are lifted, so that nginx does not end connections.
_CONFIG = """user root;
daemon off;
master_process off;
worker_rlimit_nofile 65536;
error_log stderr;
events { worker_connections 8192; }
http {
    access_log off;
    default_type application/octet-stream;
    keepalive_timeout 1d;
    keepalive_requests 1000000000;
    client_header_timeout 1d;
    client_body_timeout 1d;
    send_timeout 1d;
    client_max_body_size 0;
    client_body_temp_path @bodies@;
    proxy_temp_path %(store)s/unused;
    fastcgi_temp_path %(store)s/unused;
    uwsgi_temp_path %(store)s/unused;
    scgi_temp_path %(store)s/unused;
    server {
        listen 0.0.0.0:%(port)d backlog=4096%(keepalive)s;
        listen [::]:%(port)d ipv6only=on backlog=4096%(keepalive)s;
        location = / { return 204; }
        location /blocks/ {
            root %(store)s;
            dav_methods PUT;
        }
    }
}
"""


def create_object_store(
    store: Path, port: int = HTTP_PORT, settings: ServerSettings = AS_SHIPPED
) -> None:
    """Create the store that all nodes share, in a folder that should be on tmpfs.

    nginx writes a body to the node's own folder, and renames it into ``blocks/`` before it
    acknowledges (ngx_http_dav_module). So every node reads it completely or not at all.

    nginx leaves SO_KEEPALIVE off, unless ``settings`` have times for it: then it is on.
    """
    keepalive = "" if KEEPALIVE.isdisjoint(settings.given()) else " so_keepalive=on"
    (store / "blocks").mkdir()
    _config(store).write_text(
        _CONFIG % {"store": store, "port": port, "keepalive": keepalive}
    )


def nginx_argv(store: Path) -> list[str]:
    """The command that serves ``store`` in the foreground until it is killed.

    The shell creates the node's own files and executes nginx. Each node needs its own file
    for the process id, which nginx always writes, and its own folder for bodies. nginx
    unlinks a body's temporary name after the request. In a shared folder, that name may
    belong to another node by then.
    """
    script = (
        'own="${0%/*}/nginx-$$" && mkdir -p "$own" && '
        'sed "s|@bodies@|$own|" "$0" >"$own.conf" && '
        'exec nginx -c "$own.conf" -g "pid $own.pid;"'
    )
    return ["sh", "-c", script, str(_config(store))]


def _config(store: Path) -> Path:
    return store / "nginx.conf"
