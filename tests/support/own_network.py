"""A network of a process's own, in which any name and any address can be real.

Run as ``unshare --map-root-user --net --mount python -m tests.support.own_network FOLDER``: names are asked of a DNS
server here, one address of the internet and 127.0.0.1 have a web server each, and webhooks are sent as the server sends
them. Prints what came of each, as JSON.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from sqlalchemy import select

from understudy.errors import UnderstudyError
from understudy.services.queue import owners, webhooks
from understudy.services.queue.database import Database
from understudy.services.queue.settings import ServerSettings
from understudy.services.queue.tables import deliveries

PUBLIC, LOOPBACK = "93.184.215.14", "127.0.0.1"
ZONE: dict[str, list[tuple[str, ...]]] = {
    "honest.example": [(PUBLIC,)],
    "redirecting.example": [(PUBLIC,)],
    "rebound.example": [(PUBLIC,), (LOOPBACK,)],
    "rebound-while-sending.example": [(PUBLIC,), (PUBLIC,), (LOOPBACK,)],
    "both.example": [(PUBLIC, LOOPBACK)],
    "metadata.example": [("169.254.169.254",)],
    "translated.example": [("64:ff9b:1::7f00:1",)],
}
"""The addresses of each name: before its message is sent, then question by question; the last ones stay."""


def begin(folder: Path) -> None:
    """Raise the loopback device, give it the public address, and ask names of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for device, address in ((b"lo", LOOPBACK), (b"lo:1", PUBLIC)):
            fcntl.ioctl(control, 0x8916, struct.pack("16sH2x4s8x", device, socket.AF_INET, socket.inet_aton(address)))
            fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", device, 1))  # up
    for name, text in (("resolv.conf", f"nameserver {LOOPBACK}\n"), ("nsswitch.conf", "hosts: dns\n")):
        (folder / name).write_text(text)
        if Path(f"/etc/{name}").exists():  # without nsswitch.conf the C library asks the name server, too
            subprocess.run(["mount", "--bind", folder / name, f"/etc/{name}"], check=True)


def answer_names(asked: dict[str, int]) -> None:
    """A DNS server for `ZONE` (RFC 1035). `asked`: how often each name was asked for since sending began."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((LOOPBACK, 53))

    def run() -> None:
        while True:
            question, client = server.recvfrom(512)
            end = question.index(b"\0", 12) + 5
            labels, at = [], 12
            while question[at]:
                labels.append(question[at + 1 : at + 1 + question[at]].decode())
                at += 1 + question[at]
            name, kind = ".".join(labels), struct.unpack_from(">H", question, end - 4)[0]
            answers = ZONE.get(name, [()])
            if kind == 1 and name in asked:
                asked[name] += 1
            addresses = answers[min(asked.get(name, 0), len(answers) - 1)]
            family, length = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            found = [socket.inet_pton(family, one) for one in addresses if (":" in one) == (kind == 28)]
            records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, length) + one for one in found)
            header = question[:2] + struct.pack(">5H", 0x8180, 1, len(found), 0, 0)
            server.sendto(header + question[12:end] + records, client)

    Thread(target=run, daemon=True).start()


def answer_web(address: str, got: list[str]) -> None:
    """A web server that notes what is sent to it, and redirects messages for the redirecting host to 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            host = str(self.headers["Host"])
            got.append(host)
            self.send_response(307 if host.startswith("redirecting") else 200)
            self.send_header("Location", f"http://{LOOPBACK}/secret")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *arguments: object) -> None:
            pass

    Thread(target=HTTPServer((address, 80), Handler).serve_forever, daemon=True).start()


def outcome(database: Database, settings: ServerSettings, host: str, asked: dict[str, int]) -> str:
    """What comes of a webhook to `host`: the error, or ``delivered``."""
    url = f"http://{host}/hook"
    try:
        webhooks.check(url, settings)
    except UnderstudyError as error:
        return error.message
    owner = owners.ensure_owner(database, "ada")
    values = {"id": host, "owner": owner, "job": "job", "url": url, "body": "{}", "state": "waiting", "due": 0.0}
    values["created"] = 0.0
    with database.write() as connection:
        connection.execute(deliveries.insert().values(**values))
    asked[host] = 0
    webhooks.Deliveries(database, settings).deliver_due()
    with database.read() as connection:
        row = connection.execute(select(deliveries).where(deliveries.c.id == host)).one()
    return str(row.error or row.state)


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0])
    begin(folder)
    asked: dict[str, int] = {}
    public: list[str] = []
    private: list[str] = []
    answer_names(asked)
    answer_web(PUBLIC, public)
    answer_web(LOOPBACK, private)
    settings = ServerSettings(data=folder)
    database = Database(settings.database_url)
    outcomes = {host: outcome(database, settings, host, asked) for host in ZONE}
    print(json.dumps({"outcomes": outcomes, "public": public, "private": private, "asked": asked}))


if __name__ == "__main__":
    main(sys.argv[1:])
