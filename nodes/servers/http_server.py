"""How a storage node serves objects by HTTP: nginx over the store that nodes share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

HTTP_PORT = 80

#: Patterns that the protocol cannot follow, and why.
HTTP_REFUSES: Mapping[str, str] = {
    "pipelined": "HTTP/1.1 clients wait for each answer (h11 does not pipeline)",
    "half-closed": "a request cannot be sent once the client shut its side down",
}

#: One process, in the foreground: killing it leaves nothing. Time limits and the limit
#: of requests on a connection are lifted, so that only the network ends connections.
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
        listen 0.0.0.0:%(port)d backlog=4096;
        listen [::]:%(port)d ipv6only=on backlog=4096;
        location = / { return 204; }
        location /blocks/ {
            root %(store)s;
            dav_methods PUT;
        }
    }
}
"""


def create_object_store(store: Path, port: int = HTTP_PORT) -> None:
    """What every node's nginx shares, inside the folder ``store``: put it on tmpfs.

    A body is received in a folder of the node's own and renamed into ``blocks/`` before
    it is acknowledged (ngx_http_dav_module): every node reads it whole or not at all.
    """
    (store / "blocks").mkdir()
    _config(store).write_text(_CONFIG % {"store": store, "port": port})


def nginx_argv(store: Path) -> list[str]:
    """The command that serves ``store`` until it is killed, in the foreground.

    A shell gives each node its own file for the process id, which nginx insists on
    writing and removes at its end, and its own folder for bodies, and becomes nginx. In
    one folder nodes would collide: once a request is done nginx unlinks its body's name,
    which is gone by then, and may be another node's by now.
    """
    script = (
        'own="${0%/*}/nginx-$$" && mkdir -p "$own" && '
        'sed "s|@bodies@|$own|" "$0" >"$own.conf" && '
        'exec nginx -c "$own.conf" -g "pid $own.pid;"'
    )
    return ["sh", "-c", script, str(_config(store))]


def _config(store: Path) -> Path:
    return store / "nginx.conf"
