"""The server under load, with killed processes and with hostile uploads, over real processes and sockets.

    python benchmarks/server.py kills      100 kill -9 over a queue of 50 short jobs
    python benchmarks/server.py latency    POST /v1/covers of 10 MB by 50 clients while covers are made
    python benchmarks/server.py streams    200 event streams at once
    python benchmarks/server.py hostile    1,000 hostile uploads

Each prints one JSON object and exits 1 when a requirement is not met. `--database` names a PostgreSQL database instead
of SQLite (it must be empty), `--storage` an S3 store.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import signals  # noqa: E402


class Server:
    """An ``understudy serve`` process with its own data folder, which can be killed and started again."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data, self.settings = data, settings
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=600)
        self.log = (data / "log.jsonl").open("ab")

    def start(self) -> None:
        environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(ROOT / "src")}
        for name, value in {"data": self.data, "port": self.port, "device": "cpu", **self.settings}.items():
            environment[f"UNDERSTUDY_SERVER_{name.upper()}"] = str(value)
        self.process = subprocess.Popen(self.command(), env=environment, stderr=self.log, cwd=self.data)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "understudy", "serve"]

    def wait(self) -> None:
        end = time.monotonic() + 600
        while time.monotonic() < end:
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise SystemExit(f"the server doesn't come up: see {self.log.name}")

    def workers(self) -> list[int]:
        return _children(self.process.pid, "understudy worker")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(300)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise SystemExit("the server didn't stop cleanly") from None
        self.log.close()

    def until(self, href: str, seconds: float = 1800) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found: dict[str, Any] = self.client.get(href).json()
            if found["state"] not in ("queued", "running", "making"):
                return found
            time.sleep(0.2)
        raise SystemExit(f"{href} takes more than {seconds} s")

    def voice(self, recording: bytes) -> str:
        files = {"recordings": ("voice.wav", recording)}
        made = self.client.post("/v1/voices", data={"name": "nova", "consent": "self"}, files=files)
        made.raise_for_status()
        found = self.until(made.headers["location"])
        assert found["state"] == "ready", found
        return str(found["id"])


def _children(parent: int, command: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text().rpartition(")")[2].split()
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, UnicodeDecodeError):
                continue
            if int(status[1]) == parent and command in line and status[0] != "Z":
                found.append(int(folder.name))
    return found


@contextmanager
def serving(arguments: argparse.Namespace, **settings: Any) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
        if arguments.database:
            settings["database"] = arguments.database
        if arguments.storage:
            settings["storage"] = f"{arguments.storage}/{Path(folder).name}"
        server = Server(Path(folder), **settings)
        server.start()
        try:
            server.wait()
            yield server
            server.stop()
        finally:
            if server.process.poll() is None:
                server.process.kill()
            if arguments.keep_log:
                Path(arguments.keep_log).write_bytes((Path(folder) / "log.jsonl").read_bytes())


def wav(samples: np.ndarray, rate: int, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate, subtype, format="WAV")
    return file.getvalue()


def song(seconds: float) -> bytes:
    made = signals.song(min(seconds, 10.0)).mix
    samples = np.tile(made.samples, round(seconds / min(seconds, 10.0)))
    return wav(samples, made.rate)


def recording() -> bytes:
    steps = zip((0, 2, 4, 5, 7, 5, 4, 2), "aeioaeiu", strict=True)
    notes = [signals.Note(45 + step, 0.8, vowel, "s") for step, vowel in steps]
    sung, _ = signals.singing(notes, formants=0.9)
    return wav(sung.samples, sung.rate)


# --- kills ------------------------------------------------------------------------------------------------------------


def submit_short_jobs(server: Server, count: int, seed: int) -> list[str]:
    """Jobs of a fraction of a second of song each: two of five are covers, the others separations."""
    server.voice(recording())
    sent = server.client.post("/v1/songs", files={"file": ("song.wav", song(4.0))})
    sent.raise_for_status()
    id, chance, places = sent.json()["id"], random.Random(seed), []
    for number in range(count):
        part = {"start": round(chance.uniform(0.5, 2.5), 3), "duration": round(chance.uniform(0.5, 1.0), 3)}
        # signatures have random salts
        request: dict[str, Any] = {"song": id, "settings": {"song": part, "provenance": {"sign": False}}}
        kind = "separations"
        if number % 5 < 2:
            kind, request["voice"] = "covers", "nova"
        made = server.client.post(f"/v1/{kind}", json=request, headers={"Idempotency-Key": f"job-{number}"})
        made.raise_for_status()
        places.append(made.headers["location"])
    return places


def results(server: Server, places: list[str]) -> list[dict[str, str]]:
    """The SHA-256 of each job's sounds (reports hold the time at which they were made)."""
    found = []
    for place in places:
        job = server.client.get(place).json()
        files = {**job["stems"], **({"audio": job["audio"]} if job["audio"] else {})}
        bodies = {name: server.client.get(file["href"]).content for name, file in files.items()}
        found.append({name: hashlib.sha256(body).hexdigest() for name, body in bodies.items()})
    return found


def kills(arguments: argparse.Namespace) -> dict[str, Any]:
    chance = random.Random(arguments.seed)
    count, goal = arguments.jobs, arguments.kills
    with serving(arguments, workers=2, lease=4, tries=8) as server:
        begun = time.monotonic()
        places = submit_short_jobs(server, count, arguments.seed)
        for place in places:
            server.until(place)
        undisturbed, quiet_seconds = results(server, places), time.monotonic() - begun
        server.client.delete("/v1/account/everything").raise_for_status()  # the next run may use the same database
    killed: Counter[str] = Counter()
    with serving(arguments, workers=2, lease=4, tries=8) as server:
        begun = time.monotonic()
        places = submit_short_jobs(server, count, arguments.seed)
        while True:
            time.sleep(chance.uniform(0.1, arguments.pause))
            left = count
            try:
                pages = [
                    server.client.get(f"/v1/{kind}?limit=100").json()["items"] for kind in ("covers", "separations")
                ]
                left = sum(job["state"] in ("queued", "running") for page in pages for job in page)
            except httpx.TransportError:
                pass
            if left == 0 or time.monotonic() - begun > arguments.seconds:
                break
            if sum(killed.values()) >= goal:
                continue
            if chance.random() < 0.8:
                workers = server.workers()
                if not workers:
                    continue  # they are being started
                os.kill(chance.choice(workers), signal.SIGKILL)
                killed["worker"] += 1
            else:
                server.process.kill()
                server.process.wait()
                killed["server"] += 1
                server.start()
                if chance.random() < 0.5:
                    server.wait()
        server.wait()
        for place in places:
            server.until(place)
        seconds = time.monotonic() - begun
        jobs = [server.client.get(place).json() for place in places]
        ends = [server.client.get(f"{place}/events").text.count('"state":"done"') for place in places]
        same = results(server, places) == undisturbed
        states = Counter(job["state"] for job in jobs)
    figures = {
        "killed": dict(killed),
        "jobs": dict(states),
        "ended more or less than once": sum(end != 1 for end in ends),
        "most attempts": max(job["attempts"] for job in jobs),
        "sounds identical to an undisturbed run": same,
        "seconds": round(seconds, 1),
        "seconds undisturbed": round(quiet_seconds, 1),
    }
    good = states == Counter(done=count) and same and all(end == 1 for end in ends) and sum(killed.values()) >= goal
    return figures | {"ok": good}


# --- latency ----------------------------------------------------------------------------------------------------------


async def post(port: int, path: str, kind: str, body: bytes, key: str = "") -> tuple[float, int]:
    """(seconds from the first byte sent to the answer's status line, the status), over a new connection."""
    begun = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + (f"Idempotency-Key: {key}\r\n" if key else "").encode() + b"Connection: close\r\n\r\n")
    for start in range(0, len(body), 1 << 18):
        writer.write(body[start : start + (1 << 18)])
        await writer.drain()
    status = int((await reader.readline()).split()[1])
    took = time.perf_counter() - begun
    await reader.read()
    writer.close()
    return took, status


def form(fields: dict[str, str], file: bytes) -> tuple[str, bytes]:
    parts = [
        f'--limit\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    head = '--limit\r\nContent-Disposition: form-data; name="song"; filename="song.wav"\r\n\r\n'
    return "multipart/form-data; boundary=limit", "".join(parts).encode() + head.encode() + file + b"\r\n--limit--\r\n"


def described(answers: list[tuple[float, int]]) -> dict[str, Any]:
    times = sorted(took for took, _ in answers)
    return {
        "requests": len(answers),
        "median ms": round(1000 * statistics.median(times)),
        "95 % ms": round(1000 * times[int(0.95 * len(times))]),
        "worst ms": round(1000 * times[-1]),
        "statuses": dict(Counter(status for _, status in answers)),
    }


def latency(arguments: argparse.Namespace) -> dict[str, Any]:
    limits = {"jobs_queued": 5000, "minutes_a_day": 1e6, "requests_a_minute": 100000}
    with serving(arguments, workers=1, **limits) as server:
        voice = server.voice(recording())
        big = song(60.0)[:10_000_000]
        busy = server.client.post("/v1/songs", files={"file": ("busy.wav", song(60.0))}).json()["id"]
        for seed in range(20):  # covers that are made during the measurement, queued before the measured ones
            request = {"song": busy, "voice": voice, "settings": {"conversion": {"seed": seed}}}
            server.client.post("/v1/covers", json=request).raise_for_status()
        time.sleep(3)
        kind, body = form({"voice": voice, "priority": "batch"}, big)
        stored = json.dumps({"song": busy, "voice": voice, "priority": "batch"}).encode()

        async def paced() -> list[tuple[float, int]]:
            async def client(number: int) -> list[tuple[float, int]]:
                await asyncio.sleep(arguments.every * number / arguments.clients)
                found = []
                for _ in range(arguments.rounds):
                    begun = time.monotonic()
                    found.append(await post(server.port, "/v1/covers", kind, body))
                    await asyncio.sleep(max(0.0, arguments.every - (time.monotonic() - begun)))
                return found

            return [one for found in await asyncio.gather(*map(client, range(arguments.clients))) for one in found]

        async def burst() -> list[tuple[float, int]]:
            return await asyncio.gather(
                *(post(server.port, "/v1/covers", kind, body) for _ in range(arguments.clients))
            )

        async def by_id() -> list[tuple[float, int]]:
            async def client() -> list[tuple[float, int]]:
                return [await post(server.port, "/v1/covers", "application/json", stored) for _ in range(8)]

            found = await asyncio.gather(*(client() for _ in range(arguments.clients)))
            return [one for answers in found for one in answers]

        figures = {
            f"{arguments.clients} clients, each a 10 MB song every {arguments.every:g} s": described(
                asyncio.run(paced())
            ),
            f"{arguments.clients} clients, each a stored song again and again": described(asyncio.run(by_id())),
            f"{arguments.clients} uploads of 10 MB in the same instant": described(asyncio.run(burst())),
        }
        running = server.client.get("/v1/covers?state=running").json()["items"]
    good = all(set(found["statuses"]) == {202} for found in figures.values())
    first = next(iter(figures.values()))
    return {**figures, "covers being made": len(running), "ok": good and first["median ms"] < 150}


# --- streams ----------------------------------------------------------------------------------------------------------


def streams(arguments: argparse.Namespace) -> dict[str, Any]:
    with serving(arguments, workers=1) as server:
        voice = server.voice(recording())
        sent = server.client.post("/v1/songs", files={"file": ("song.wav", song(4.0))}).json()["id"]
        places = []
        for seed in range(4):
            request = {"song": sent, "voice": voice, "settings": {"conversion": {"seed": seed}}}
            places.append(server.client.post("/v1/covers", json=request).headers["location"])

        async def follow(place: str) -> tuple[int, bool, bool]:
            """(number of events, whether they were in order, whether the job's end was among them)."""
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"GET {place}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            text = (await asyncio.wait_for(reader.read(), 300)).decode()
            writer.close()
            numbers = [int(line.partition(":")[2]) for line in text.split("\r\n") if line.startswith("id:")]
            return len(numbers), numbers == sorted(set(numbers)), '"state":"done"' in text

        async def everybody() -> tuple[list[tuple[int, bool, bool]], float]:
            """What each listener got, and the mean milliseconds of a request beside them."""
            followers = asyncio.gather(*(follow(places[n % len(places)]) for n in range(arguments.streams)))
            await asyncio.sleep(1.0)
            begun, client = time.perf_counter(), httpx.AsyncClient(base_url=server.url)
            answers = [(await client.get("/v1/covers?limit=5")).status_code for _ in range(20)]
            assert set(answers) == {200}
            beside = 1000 * (time.perf_counter() - begun) / 20
            return await followers, beside

        found, beside = asyncio.run(everybody())
        figures = {
            "streams": len(found),
            "events": sum(count for count, _, _ in found),
            "in order": sum(ordered for _, ordered, _ in found),
            "complete": sum(ended for _, _, ended in found),
            "GET beside them, mean ms": round(beside, 1),
        }
    return figures | {"ok": all(ordered and ended for _, ordered, ended in found)}


# --- hostile uploads --------------------------------------------------------------------------------------------------


def seeds() -> list[bytes]:
    """Valid files of many formats, to be corrupted."""
    from understudy.audio.encode import encode, parse_format
    from understudy.audio.samples import Audio
    from understudy.audio.tags import Tags
    from understudy.context import Context

    made = signals.song(1.0).mix
    found = [wav(made.samples, made.rate), wav(made.samples, made.rate, "FLOAT")]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("flac", "mp3", "m4a", "opus"):
            path = Path(folder) / f"a.{name}"
            encode(Context(Path(folder)), Audio(made.samples, made.rate), path, parse_format(name), Tags(title="x"))
            found.append(path.read_bytes())
    return found


def corrupted(good: list[bytes], chance: random.Random) -> bytes:
    data = bytearray(chance.choice(good))
    match chance.randrange(7):
        case 0:  # cut off
            return bytes(data[: chance.randrange(len(data))])
        case 1:  # bits flipped in the header
            for _ in range(chance.randint(1, 40)):
                data[chance.randrange(min(400, len(data)))] = chance.randrange(256)
        case 2:  # bits flipped anywhere
            for _ in range(chance.randint(1, 500)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 3:  # excessive numbers
            at = chance.randrange(min(200, len(data) - 4))
            data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\0\0\0\x80"))
        case 4:  # parts of two files
            other = chance.choice(good)
            return bytes(data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :])
        case 5:  # the header repeated
            return bytes(data[: chance.randint(8, 200)] * chance.randint(2, 2000))
        case _:
            return chance.choice(
                (
                    b"#EXTM3U\nhttp://127.0.0.1:1/\n",
                    b"ffconcat version 1.0\nfile /etc/passwd\n",
                    chance.randbytes(chance.randint(0, 100_000)),
                    b"PK\3\4" + chance.randbytes(500),
                    b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
                    b"",
                )
            )
    return bytes(data)


def memory(root: int) -> int:
    """MB of the server process and its children, without the workers."""
    workers, total, todo = set(_children(root, "understudy worker")), 0.0, [root]
    while todo:
        process = todo.pop()
        todo += [child for child in _children(process, "") if child not in workers]
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024
    return round(total)


def hostile(arguments: argparse.Namespace) -> dict[str, Any]:
    chance, good = random.Random(arguments.seed), seeds()
    statuses: Counter[int] = Counter()
    codes: Counter[str] = Counter()
    limits = {"jobs_queued": 5000, "minutes_a_day": 1e6, "requests_a_minute": 100000}
    with serving(arguments, workers=1, decode_seconds=20, **limits) as server:
        used, slowest, jobs, disconnected = [], 0.0, [], 0
        for number in range(arguments.uploads):
            if number % 50 == 0:
                used.append(memory(server.process.pid))
            data, name = corrupted(good, chance), chance.choice(("a.wav", "../../a", "x" * 300, "\u202e.mp3", "a\0b"))
            begun = time.monotonic()
            if chance.random() < 0.1:  # the client disconnects half way
                disconnected += 1
                with socket.create_connection(("127.0.0.1", server.port)) as line:
                    kind, body = form({}, data + bytes(100_000))
                    head = f"POST /v1/separations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
                    line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) // 2])
                continue
            kind = chance.choices(("songs", "separations", "recordings", "model"), (65, 25, 5, 5))[0]
            match kind:
                case "songs":
                    answer = server.client.post("/v1/songs", files={"file": (name, data)})
                case "separations":
                    answer = server.client.post("/v1/separations", files={"song": (name, data)})
                case _:
                    fields = {"name": f"voice {number}", "consent": "self"}
                    answer = server.client.post("/v1/voices", data=fields, files={kind: (name, data)})
            if answer.status_code == 202:
                jobs.append(answer.headers["location"])
            slowest = max(slowest, time.monotonic() - begun)
            statuses[answer.status_code] += 1
            if answer.status_code >= 400:
                codes[answer.json()["code"]] += 1
        ends: Counter[str] = Counter()
        for place in jobs:
            found = server.until(place, 600)
            ends[found["state"] + (f" {found['error']['code']}" if found["error"] else "")] += 1
        used.append(memory(server.process.pid))
        incoming = [path for path in (server.data / "incoming").rglob("*") if path.is_file() and path.suffix != ".lock"]
        scratch = [path for path in (server.data / "scratch").rglob("*") if path.is_file() and path.suffix != ".lock"]
        server.client.delete("/v1/account/everything").raise_for_status()
        stored = [path for path in (server.data / "storage").rglob("*") if path.is_file()]
    figures = {
        "uploads": arguments.uploads,
        "statuses": dict(statuses),
        "disconnected": disconnected,
        "codes": dict(codes.most_common()),
        "accepted jobs": dict(ends),
        "slowest s": round(slowest, 2),
        "server memory MB": used,
        "files left over": len(incoming) + len(scratch) + len(stored),
    }
    crashed = any(status >= 500 for status in statuses) or any("internal" in end or "poisoned" in end for end in ends)
    flat = statistics.mean(used[-4:]) < 1.3 * statistics.mean(used[2:6]) if len(used) > 8 else True
    return figures | {"ok": not crashed and flat and not (incoming or scratch or stored) and slowest < 30}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kills", "latency", "streams", "hostile"))
    parser.add_argument("--database", help="URL of an empty PostgreSQL database")
    parser.add_argument("--storage", help="s3://bucket")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep-log", help="write the server's log here")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--pause", type=float, default=2.0, help="longest time between two kills")
    parser.add_argument("--seconds", type=float, default=1200, help="give up after")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--every", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--uploads", type=int, default=1000)
    arguments = parser.parse_args()
    figures = {"kills": kills, "latency": latency, "streams": streams, "hostile": hostile}[arguments.what](arguments)
    print(json.dumps(figures, indent=1))
    raise SystemExit(0 if figures["ok"] else 1)


if __name__ == "__main__":
    main()
