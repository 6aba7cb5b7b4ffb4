"""nginx in front of a server, as an operator sets it up."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.support.command import HANGS, until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
_CONFIGURATION = """
{user}
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  client_max_body_size 500m;
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto https;
  proxy_http_version 1.1;
  proxy_buffering off;
  server {{ listen 127.0.0.1:{keeps}; location {path}/ {{ proxy_pass {server}; }} }}
  server {{ listen 127.0.0.1:{removes}; location {path}/ {{ proxy_pass {server}/; }} }}
}}
"""


@contextmanager
def nginx(folder: Path, server: str, path: str) -> Iterator[tuple[str, str]]:
    """The addresses of two proxies that show `server` below `path`: one leaves the path in the request, one takes it
    away."""
    assert NGINX
    keeps, removes = (_free_port() for _ in range(2))
    user = "" if os.geteuid() else "user root;"  # else nginx takes another one, who may not write here
    text = _CONFIGURATION.format(user=user, keeps=keeps, removes=removes, server=server, path=path)
    (folder / "nginx.conf").write_text(text)
    command = [NGINX, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        addresses = f"http://127.0.0.1:{keeps}{path}", f"http://127.0.0.1:{removes}{path}"
        until(lambda: _answers(addresses[1]), (folder / "nginx.log").read_text)
        yield addresses
    finally:
        process.terminate()
        process.wait(HANGS)


def _answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/healthz", timeout=HANGS):
            return True
    except HTTPError:
        return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
