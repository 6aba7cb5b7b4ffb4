"""Whether one owner can slow another: attacks with one key, or none, and what another owner sees meanwhile.

    python benchmarks/tenants.py                      all attacks, 20 s each, on SQLite
    python benchmarks/tenants.py --only dns voices    some of them
    python benchmarks/tenants.py --database URL       on an empty PostgreSQL database

A real server stores in an S3 server (moto) behind a proxy that slows it down, and asks names of a name server that
never answers: that needs root, for port 53 and a mount of its own. The other owner lists songs, shows a job, submits a
job and cancels it; its webhook says that it ended. Prints a table; exits 1 where a goal is missed: GET 200 ms and POST
500 ms at the 99th percentile, webhooks 10 s. Each percentile is over some hundred (GET) or some dozen (POST) requests.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.server import Server, song  # noqa: E402
from tests.support import s3  # noqa: E402
from understudy.services.queue import owners  # noqa: E402
from understudy.services.queue.database import Database  # noqa: E402

GOALS = {"GET": 0.2, "POST": 0.5, "webhook": 10.0}
SLOW = 60_000  # bytes per second of the slow store
SILENT = "silent.example"
SMALL = 100_000  # bytes that the owner of the open uploads may store


@dataclass(frozen=True)
class Target:
    """What an attacker knows. `small`: a key whose owner may store little; `hooks`: where webhooks go."""

    port: int
    key: str
    small: str
    song: str
    hooks: str

    def client(self, key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=120)


Attack = Callable[[Target, Any], None]


def repeated(count: int) -> Callable[[Callable[[Target, httpx.Client, int], None]], Attack]:
    """An attack that does one thing again and again from `count` threads."""

    def attack(once: Callable[[Target, httpx.Client, int], None]) -> Attack:
        def run(target: Target, stop: Any) -> None:
            def loop(number: int) -> None:
                with target.client(target.key) as client:
                    while not stop.is_set():
                        with suppress(httpx.HTTPError):
                            once(target, client, number)

            threads = [Thread(target=loop, args=(number,), daemon=True) for number in range(count)]
            for thread in threads:
                thread.start()
            stop.wait()

        return run

    return attack


@cache
def sent_file(name: str) -> bytes:
    """What attackers send, made once."""
    sound = song(6.0)[:1_000_000]
    match name:
        case "voices":
            return json.dumps({"song": "song_x", "voice": ["0:00-0:01=nova"] * 56_000}).encode()
        case "chunks":
            return sound[:12] + b"junk\0\0\0\0" * 3_500_000 + sound[12:]
    return sound


def nothing(target: Target, stop: Any) -> None:
    stop.wait()


@repeated(26)
def slow_store(target: Target, client: httpx.Client, number: int) -> None:
    client.post("/v1/songs", files={"file": ("song.wav", sent_file("song"))})


@repeated(80)
def dns(target: Target, client: httpx.Client, number: int) -> None:
    hook(target, client, f"http://{number}.{SILENT}/")


@repeated(12)
def voices(target: Target, client: httpx.Client, number: int) -> None:
    client.post("/v1/covers", content=sent_file("voices"), headers={"Content-Type": "application/json"})


@repeated(6)
def probes(target: Target, client: httpx.Client, number: int) -> None:
    client.post("/v1/songs", files={"file": ("song.wav", sent_file("chunks"))})


@repeated(4)
def receivers(target: Target, client: httpx.Client, number: int) -> None:
    hook(target, client, f"{target.hooks}/hang")
    time.sleep(0.2)


def hook(target: Target, client: httpx.Client, url: str) -> None:
    made = client.post("/v1/separations", json={"song": target.song, "webhook": url})
    if made.status_code == 202:
        client.delete(made.headers["location"])
    else:
        time.sleep(1)


def open_uploads(target: Target, stop: Any) -> None:
    """Ten uploads that never end, of 30 MB each, without a length."""
    head = (
        f"POST /v1/songs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {target.small}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    begin = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'

    def loop() -> None:
        while not stop.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", target.port)) as line:
                line.sendall(head.encode() + b"%x\r\n%s\r\n" % (len(begin), begin))
                for _ in range(300):
                    line.sendall(b"186a0\r\n" + bytes(100_000) + b"\r\n")
                stop.wait()

    for _ in range(10):
        Thread(target=loop, daemon=True).start()
    stop.wait()


def half_headers(target: Target, stop: Any) -> None:
    """1,500 connections with half a header each, opened again when they are closed."""
    lines: list[socket.socket] = []
    while not stop.is_set():
        while len(lines) < 1500 and not stop.is_set():
            with suppress(OSError):
                line = socket.create_connection(("127.0.0.1", target.port), 5)
                lines.append(line)
                line.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
                line.setblocking(False)
        for line in list(lines):
            try:
                gone = line.recv(1) == b""
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone:
                line.close()
                lines.remove(line)
        stop.wait(0.2)


ATTACKS: dict[str, tuple[str, Attack]] = {
    "none": ("nothing else", nothing),
    "store": ("26 uploads of 1 MB at a time, the store takes 60 kB/s", slow_store),
    "dns": ("80 jobs at a time whose webhook's name server never answers", dns),
    "voices": ("12 lists of voices at a time, 1 MB each", voices),
    "probes": ("6 WAV files at a time with 3.5 million empty chunks (28 MB)", probes),
    "receivers": ("jobs cancelled again and again, whose receivers hang 30 s", receivers),
    "uploads": ("10 open uploads of 30 MB, 100 kB of storage", open_uploads),
    "headers": ("1,500 half-sent headers, without a key", half_headers),
}


def attacker(name: str, target: Target, stop: Any, ready: Any) -> None:
    os.nice(10)  # others' machines do its work
    for file in ("song", "voices", "chunks"):
        sent_file(file)
    ready.set()
    ATTACKS[name][1](target, stop)


@dataclass
class Seen:
    """What the other owner saw: seconds of its requests, statuses, and when each of its jobs was cancelled."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"GET": [], "POST": []})
    statuses: Counter[int] = field(default_factory=Counter)
    cancelled: dict[str, float] = field(default_factory=dict)


def bystander(target: Target, seconds: float, answer: Any) -> None:
    """Use the server as an ordinary owner does, for so many `seconds`; puts what it saw into `answer`."""
    seen, end = Seen(), time.monotonic() + seconds

    def timed(client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
        begun = time.monotonic()
        found = client.request(method, path, **more)
        seen.seconds[method].append(time.monotonic() - begun)
        seen.statuses[found.status_code] += 1
        return found

    def reads() -> None:
        with target.client(target.key) as client:
            while time.monotonic() < end:
                timed(client, "GET", "/v1/songs")
                timed(client, "GET", f"/v1/songs/{target.song}")
                time.sleep(0.15)

    reader = Thread(target=reads)
    reader.start()
    with target.client(target.key) as client:
        while time.monotonic() < end:
            request = {"song": target.song, "webhook": f"{target.hooks}/other"}
            made = timed(client, "POST", "/v1/separations", json=request)
            if made.status_code == 202:
                client.delete(made.headers["location"])
                seen.cancelled[made.json()["id"]] = time.monotonic()
            time.sleep(0.3)
    reader.join()
    answer.put(seen)


class Receiver:
    """A receiver of webhooks. `got`: when each job's came."""

    def __init__(self) -> None:
        got: dict[str, float] = {}
        stopping = Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/hang":
                    stopping.wait(30)
                else:
                    got[body["id"]] = time.monotonic()
                with suppress(OSError):
                    self.send_response(200)
                    self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.got = got
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()


class SlowProxy:
    """Passes connections on to `port`; while `slow` is set, what is sent there takes `SLOW` bytes per second in all."""

    def __init__(self, port: int) -> None:
        self.slow, self._to, self._turn = Event(), port, Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self._listening.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listening.accept()
            far = socket.create_connection(("127.0.0.1", self._to))
            Thread(target=self._pass, args=(near, far, True), daemon=True).start()
            Thread(target=self._pass, args=(far, near, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, upward: bool) -> None:
        with suppress(OSError):
            while block := source.recv(6000):
                if upward and self.slow.is_set():
                    with self._turn:
                        time.sleep(len(block) / SLOW)
                target.sendall(block)
        for side in (source, target):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


@contextmanager
def silent_name_server() -> Iterator[None]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind(("127.0.0.1", 53))
        except OSError as error:
            raise SystemExit(f"the name server needs port 53 of 127.0.0.1: {error}") from None
        yield


class OwnNames(Server):
    """A server that asks names of 127.0.0.1."""

    def command(self) -> list[str]:
        names = self.data / "resolv.conf"
        names.write_text("nameserver 127.0.0.1\n")
        mounted = f'mount --bind {names} /etc/resolv.conf && exec "$@"'
        return ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted, "sh", *super().command()]


def percentile(seconds: list[float], share: float = 0.99) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def held(folder: Path) -> int:
    """The bytes of uploads in progress."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def measured(
    name: str, targets: tuple[Target, Target], seconds: float, receiver: Receiver, data: Path
) -> dict[str, Any]:
    """The figures of one attack. `targets`: the attacker's, and the other owner's."""
    attacking, other = targets
    start = multiprocessing.get_context("spawn")
    stop, ready, answer = start.Event(), start.Event(), start.Queue()
    attack = start.Process(target=attacker, args=(name, attacking, stop, ready))
    attack.start()
    ready.wait()
    time.sleep(2)
    watch = start.Process(target=bystander, args=(other, seconds, answer))
    watch.start()
    most = 0
    while answer.empty() and watch.is_alive():
        most = max(most, held(data / "incoming"))
        time.sleep(0.2)
    seen: Seen = answer.get(timeout=60)
    watch.join()
    end = time.monotonic() + GOALS["webhook"] + 5
    while set(seen.cancelled) - set(receiver.got) and time.monotonic() < end:
        time.sleep(0.1)
    stop.set()
    attack.join(10)
    attack.kill()
    now = time.monotonic()
    hooks = [receiver.got.get(job, now) - at for job, at in seen.cancelled.items()]
    return {
        "GET": percentile(seen.seconds["GET"]),
        "POST": percentile(seen.seconds["POST"]),
        "webhook": max(hooks, default=now),
        "requests": sum(map(len, seen.seconds.values())),
        "refused": sum(count for status, count in seen.statuses.items() if status >= 400),
        "uploads on disk MB": round(most / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each attack")
    parser.add_argument("--database", help="URL of an empty PostgreSQL database")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-bench-")))
        stack.enter_context(silent_name_server())
        proxy = SlowProxy(int(stack.enter_context(s3.server()).rpartition(":")[2]))
        receiver = Receiver()
        options = {"key": "k", "secret": "s", "endpoint_url": f"http://127.0.0.1:{proxy.port}"}
        settings: dict[str, Any] = {"storage": "s3://bench/data", "storage_options": options, "workers": 0}
        settings |= {"keys": True, "trainings": 0, "webhook_networks": "127.0.0.0/8"}
        if arguments.database:
            settings["database"] = arguments.database
        database = Database(arguments.database or f"sqlite:///{folder / 'server.sqlite3'}")
        made = {name: owners.create_key(database, name, "", owners.SCOPES)[0] for name in ("mallory", "bea")}
        small = owners.create_key(database, "small", "", owners.SCOPES, {"storage_bytes": SMALL})[0]
        database.close()
        server = OwnNames(folder, **settings)
        server.start()
        stack.callback(server.stop)
        server.wait()
        targets = []
        for key in made.values():
            with Target(server.port, key, small, "", "").client(key) as client:
                sent = client.post("/v1/songs", files={"file": ("song.wav", song(1.0))})
                sent.raise_for_status()
            targets.append(Target(server.port, key, small, sent.json()["id"], f"{receiver.url}"))
        missed = False
        print("| attack | GET p99 ms | POST p99 ms | webhooks, worst s | refused | uploads on disk MB |")
        print("|---|---|---|---|---|---|")
        for name in arguments.only:
            (proxy.slow.set if name == "store" else proxy.slow.clear)()
            found = measured(name, (targets[0], targets[1]), arguments.seconds, receiver, folder)
            missed |= any(found[kind] > goal for kind, goal in GOALS.items())
            print(
                f"| {ATTACKS[name][0]} | {1000 * found['GET']:.0f} | {1000 * found['POST']:.0f} "
                f"| {found['webhook']:.1f} | {found['refused']} of {found['requests']} "
                f"| {found['uploads on disk MB']} |",
                flush=True,
            )
        proxy.slow.clear()
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
