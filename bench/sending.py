"""CPU of one worker per message over its floor: signed at most 1.5, unsigned 2.0.

One worker process sends a personalised message of about 30 KB with five tracked
links to Postfix's smtp-sink on loopback, ledger and journal on.  The floor is what
no worker can do without: rendering the same compiled template, one SHA-256, one RSA
signature when signing, and what the C client smtp-source takes to send the same
bytes over connections that it keeps.

    python bench/sending.py --messages 20000 --signed
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Any

import aiosmtplib
import jinja2
import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mailer.core import blast, fiction, signature
from mailer.core.bounce import Rules
from mailer.core.delivery import BlastId
from mailer.core.provider import Provider, Rate, Source, Tls
from mailer.core.subscriber import Subscriber
from mailer.core.tracking import Ring
from mailer.mail import message, template
from mailer.pipeline import importing, launching, sending
from mailer.runtime import running
from mailer.store import blasts, chunks, database, embedded, migrate, subscribers

HERE = Path(__file__).parent
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
TARGETS = {True: 1.5, False: 2.0}  # by whether it is signed
OBVIOUS_TARGET = 10.0
NOW = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
PEOPLE = 200  # in turns, where rendering and the obvious way are measured
ROUNDS = 2000  # of each step that is measured alone
MICRO = 1e6

FROM = "Jo Example <jo@example.org>"
ORGANIZATION = {
    "organization": "Example for Congress",
    "committee": "Example for Congress Committee",
    "postal_address": "1 Main Street, Springfield",
    "disclaimer": "Paid for by Example for Congress Committee.",
    "tax_line": "Contributions are not tax deductible.",
    "website": "https://example.org",
}
PUBLIC = "https://links.example.org"
RING = Ring(keys={1: bytes(range(32))}, current=1)

Figures = dict[str, Any]


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--messages", type=int, default=20_000)
    options.add_argument("--connections", type=int, default=10)
    options.add_argument("--signed", action="store_true", help="with RSA of 2048 bits")
    options.add_argument("--obvious", type=int, default=300, metavar="MESSAGES")
    options.add_argument("--json", action="store_true")
    options.add_argument("--profile", type=Path, metavar="SVG", help="by py-spy")
    options.add_argument("--part", help=argparse.SUPPRESS)
    options.add_argument("--given", type=json.loads, help=argparse.SUPPRESS)
    asked = options.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    if asked.part:
        part = {"worker": worker, "floor": floor, "obvious": obvious}[asked.part]
        print(json.dumps(part(asked.given)))
        return
    if asked.obvious < 1 or asked.messages < 1 or asked.connections < 1:
        options.error("numbers begin at 1")
    found = measure(asked)
    print(json.dumps(found, indent=2) if asked.json else told(found))
    sys.exit(0 if found["ratio"] <= found["target"] else 1)


def measure(asked: argparse.Namespace) -> Figures:
    """Floor, worker, floor again, the obvious way; each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="mailer-bench-") as name, sink() as port:
        folder = Path(name)
        folder.chmod(0o755)  # the server runs as another user where we are root
        (folder / "key").write_bytes(
            signature.pem(signature.new(signature.Algorithm.RSA, bits=2048))
        )
        with embedded.using(folder / "db", linger=0, temporary=True) as url:
            owed, hash = asyncio.run(prepared(url, folder, asked.messages))
            given = {
                "url": url,
                "folder": name,
                "hash": hash,
                "port": port,
                "is_signed": asked.signed,
                "connections": asked.connections,
                "messages": owed,
                "obvious": asked.obvious,
            }
            alone = [measured("floor", given)]
            posted = [posting(given)]
            whole = asyncio.run(worked(given, profile=asked.profile))
            alone.append(measured("floor", given))
            posted.append(posting(given))
            plain = measured("obvious", given)
    return figures(given, alone=alone, posted=posted, whole=whole, plain=plain)


def figures(
    given: Figures,
    *,
    alone: Sequence[Figures],
    posted: Sequence[float],
    whole: Figures,
    plain: Figures,
) -> Figures:
    """Set the worker beside its floor; microseconds of CPU per message."""
    part = {name: mean(one[name] for one in alone) for name in alone[0]}
    posting = mean(posted)
    names = ["render", "sha256", *(["rsa"] if given["is_signed"] else [])]
    floor = sum(part[name] for name in names) + posting
    return {
        "messages": given["messages"],
        "is_signed": given["is_signed"],
        "bytes": part.pop("bytes"),
        "ratio": whole["cpu"] / floor,
        "target": TARGETS[given["is_signed"]],
        "cpu": whole["cpu"],
        "system_cpu": whole["system_cpu"],
        "messages_per_second": whole["messages_per_second"],
        "rss_mb": whole["rss_mb"],
        "floor": floor,
        "floor_parts": {**{name: part[name] for name in names}, "smtp_source": posting},
        "parts": {
            "compose": part["compose"],
            "rest": whole["cpu"] - part["compose"],
        },
        "obvious": plain,
        "times_obvious": whole["messages_per_second"] / plain["messages_per_second"],
        "times_obvious_cpu": plain["cpu"] / whole["cpu"],
        "obvious_target": OBVIOUS_TARGET,
    }


def told(found: Figures) -> str:
    """Say it to a person."""
    plain = found["obvious"]
    parts = ", ".join(f"{k} {v:.0f}" for k, v in found["floor_parts"].items())
    return (
        f"{found['messages']:,} messages of {found['bytes']:,.0f} bytes, "
        f"{'signed' if found['is_signed'] else 'not signed'}; CPU in µs per message\n"
        f"worker     {found['cpu']:7.0f}   composing {found['parts']['compose']:.0f}, "
        f"all else {found['parts']['rest']:.0f} ({found['system_cpu']:.0f} of the whole"
        f" in the system)\n"
        f"floor      {found['floor']:7.0f}   {parts}\n"
        f"ratio      {found['ratio']:7.2f}   target {found['target']:.1f}\n"
        f"messages/s {found['messages_per_second']:7,.0f}   "
        f"peak memory {found['rss_mb']:.0f} MB\n"
        f"obvious    {plain['cpu']:7,.0f}   {plain['messages_per_second']:.0f} "
        f"messages/s: ours is {found['times_obvious']:.1f} times as fast "
        f"({found['times_obvious_cpu']:.1f} by CPU), target {OBVIOUS_TARGET:.0f}"
    )


def command(part: str, given: Figures) -> list[str]:
    """Return what runs a part in a process of its own."""
    return [sys.executable, __file__, "--part", part, "--given", json.dumps(given)]


def measured(part: str, given: Figures) -> Figures:
    """Run a part to its end, and return what it says."""
    done = subprocess.run(
        command(part, given), check=True, stdout=subprocess.PIPE, text=True
    )
    found: Figures = json.loads(done.stdout)
    return found


# ── What is sent, and to whom ───────────────────────────────────────────────


async def prepared(url: str, folder: Path, people: int) -> tuple[int, str]:
    """Import people and launch a blast to them; return what is owed, and the hash."""
    file = folder / "people.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        out.writelines(fiction.lines(people, seed=1, now=NOW))
    async with database.opened(url) as pool:
        await migrate.ensure(pool)
        await importing.import_csv(pool, file, actor="bench")
        body = content()
        hash = blast.digest(body)
        async with database.transaction(pool) as tx:
            await blasts.keep(tx, hash, body)
            await tx.raw.execute(
                "INSERT INTO blast (name, state, topic, file, hash, proofed_hash,"
                " approved_hash, send_at, expires_at) VALUES ($1, 'scheduled',"
                " $2, 'bench', $3, $3, $3, mailer_now(), mailer_now() + '1 day')",
                body["name"],
                body["topic"],
                hash,
            )
            found = await blasts.get(tx, body["name"])
            await blasts.keep_variants(tx, found.id, [("only", "letter")])
            links = body["variants"][0]["compiled"]["links"]
            await blasts.keep_links(
                tx, found.id, [(link["index"], 1, link["url"]) for link in links]
            )
        launched = await launching.launch(pool, body["name"])
        async with database.connection(pool) as tx:
            await tx.raw.execute("CHECKPOINT")  # nothing is left to write from before
    return launched.owed, hash


def content() -> Figures:
    """Return the blast as an approval freezes it."""
    compiled = template.compile(
        HERE / "letter", layouts=HERE.parent / "templates/layouts"
    )
    return {
        "name": "bench",
        "topic": "news",
        "segment": "everyone",
        "exclude": [],
        "segments": {},
        "reply_to": None,
        "pool": "default",
        "priority": 0,
        "in_doubt": "hold",
        "holdout": 0.0,
        "send_at": None,
        "expires_at": None,
        "metric": "clicks",
        "variants": [{"name": "only", "from": FROM, "compiled": compiled.document()}],
    }


def signers(given: Figures) -> tuple[signature.Key, ...]:
    """Return the keys that sign in this run."""
    if not given["is_signed"]:
        return ()
    return (
        signature.Key(
            name="bench", domain="example.org", selector="bench", private=private(given)
        ),
    )


def private(given: Figures) -> rsa.RSAPrivateKey:
    """Return the key that was made for this run."""
    key = signature.private((Path(given["folder"]) / "key").read_bytes())
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


# ── The worker ──────────────────────────────────────────────────────────────


async def worked(given: Figures, *, profile: Path | None) -> Figures:
    """Let a worker send all of it, and stop it when nothing is left."""
    child = await asyncio.create_subprocess_exec(
        *command("worker", given), stdout=subprocess.PIPE
    )
    watcher = None if profile is None else watching(child.pid, profile)
    async with database.opened(given["url"], size=1) as pool:
        while child.returncode is None:
            async with database.connection(pool) as tx:
                if not await chunks.left(tx, BlastId(1)):
                    break
            await asyncio.sleep(0.05)
        with suppress(ProcessLookupError):
            child.terminate()
        said, _ = await child.communicate()
        if watcher is not None:
            watcher.wait()  # it writes what it saw
        async with database.connection(pool) as tx:
            sent, seconds = await tx.raw.fetchrow(
                "SELECT count(*), extract(epoch FROM max(settled_at) - min(settled_at))"
                " FROM delivery WHERE state = 'sent'"
            )
    if sent != given["messages"]:
        sys.exit(f"only {sent} of {given['messages']} messages were sent")
    used = json.loads(said)
    return {
        "cpu": used["cpu"] / sent * MICRO,
        "system_cpu": used["system"] / sent * MICRO,
        "rss_mb": used["rss_mb"],
        "messages_per_second": sent / max(float(seconds), 1e-6),
    }


def watching(pid: int, profile: Path) -> subprocess.Popen[bytes]:
    """Have py-spy look on: a flame graph, or stacks where the name is no .svg."""
    kind = "flamegraph" if profile.suffix == ".svg" else "raw"
    asked = ["--gil", "--rate", "200", "--format", kind, "--output", str(profile)]
    return subprocess.Popen(
        [tool("py-spy", "pip install py-spy"), "record", "--pid", str(pid), *asked],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def worker(given: Figures) -> Figures:
    """Be a worker until SIGTERM; return the CPU that it used since it began."""
    setup = sending.Setup(
        house=sending.House(
            organization=ORGANIZATION,
            public_url=PUBLIC,
            ring=RING,
            signers=signers(given),
        ),
        sources=(
            Source(
                name="sink",
                host="127.0.0.1",
                port=given["port"],
                tls=Tls.NONE,
                connections=given["connections"],
                messages=1000,
                rate=Rate.parse("unlimited"),
            ),
        ),
        providers=(Provider(name="other"),),
        rules=Rules(rules=()),
        retry=(timedelta(minutes=5),),
        fingerprint="bench",
        journals=Path(given["folder"]) / "journal",
    )
    import uvloop  # as `mailer work` does

    before = resource.getrusage(resource.RUSAGE_SELF)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(given["url"], setup))
    after = resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    return {
        "cpu": after.ru_utime - before.ru_utime + system,
        "system": system,
        "rss_mb": after.ru_maxrss / 1024,
    }


async def _work(url: str, setup: sending.Setup) -> None:
    async with running.stopping() as stop, database.opened(url) as pool:
        await sending.work(pool, setup, stop=stop)


# ── The floor ───────────────────────────────────────────────────────────────


def floor(given: Figures) -> Figures:
    """Measure alone what every worker must do, and the whole of composing."""
    composer, people = asyncio.run(read(given))
    contexts = [
        composer._context(person)  # noqa: SLF001 -- what it renders with
        for person in people
    ]
    letters = [written(composer, person, seq) for seq, person in enumerate(people, 1)]
    bodies = [letter.data for letter in letters]
    (Path(given["folder"]) / "message").write_bytes(bodies[0].replace(b"\r\n", b"\n"))
    key, clear = private(given), b"x" * 1500
    pairs = list(enumerate(people, 1))
    return {
        "bytes": mean(map(len, bodies)),
        "render": cost(composer.renderer.render, contexts),
        "sha256": cost(lambda data: sha256(data).digest(), bodies),
        "rsa": cost(
            lambda _: key.sign(clear, padding.PKCS1v15(), hashes.SHA256()), bodies
        ),
        "compose": cost(lambda pair: written(composer, pair[1], pair[0]), pairs),
    }


def cost(step: Callable[[Any], object], values: Sequence[Any]) -> float:
    """Return the CPU of *step*, in microseconds."""
    for value in values:
        step(value)  # caches fill
    begun = time.process_time()
    for number in range(ROUNDS):
        step(values[number % len(values)])
    return (time.process_time() - begun) / ROUNDS * MICRO


async def read(given: Figures) -> tuple[message.Composer, list[Subscriber]]:
    """Return what a worker would: the composer of the blast, and some people."""
    async with (
        database.opened(given["url"], size=1) as pool,
        database.connection(pool) as tx,
    ):
        body = await blasts.content(tx, given["hash"])
        ids = await tx.raw.fetch("SELECT id FROM subscriber LIMIT $1", PEOPLE)
        people = await subscribers.by_ids(tx, [row["id"] for row in ids])
    shared = message.Blast(
        id=BlastId(1),
        name=body["name"],
        topic=body["topic"],
        organization=ORGANIZATION,
        public_url=PUBLIC,
        ring=RING,
        signers=signers(given),
    )
    arm = body["variants"][0]
    compiled = template.Compiled.from_document(arm["compiled"])
    composer = message.Composer(compiled, blast=shared, variant=1, sender=arm["from"])
    return composer, people


def written(composer: message.Composer, person: Subscriber, seq: int) -> message.Letter:
    return composer.compose(person, seq=seq, date=NOW + timedelta(seconds=seq))


def posting(given: Figures) -> float:
    """Have smtp-source send the same bytes; return its CPU, in microseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [
            tool("smtp-source"), "-4", "-d",
            "-s", str(given["connections"]), "-m", str(given["messages"]),
            "-f", "jo@example.org", "-t", "demo.1@example.org",
            "-F", str(Path(given["folder"]) / "message"),
            f"127.0.0.1:{given['port']}",
        ],
        check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used / given["messages"] * MICRO


@contextmanager
def sink() -> Iterator[int]:
    """Run Postfix's smtp-sink on a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    asked = [tool("smtp-sink")]
    if os.getuid() == 0:
        asked += ["-u", "nobody"]
    child = subprocess.Popen([*asked, f"127.0.0.1:{port}", "1000"])
    try:
        until = time.monotonic() + 10
        while True:
            with suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            if child.poll() is not None or time.monotonic() > until:
                sys.exit("smtp-sink does not answer")
            time.sleep(0.02)
        yield port
    finally:
        child.terminate()
        child.wait()


def tool(name: str, cure: str = "apt-get install postfix") -> str:
    found = shutil.which(name, path=SEARCH)
    if found is None:
        sys.exit(f"{name} is not here: {cure}")
    return found


# ── The obvious way ─────────────────────────────────────────────────────────


def obvious(given: Figures) -> Figures:
    """EmailMessage, dkimpy, aiosmtplib.send: one message after the other."""
    composer, people = asyncio.run(read(given))
    contexts = [
        composer._context(person)  # noqa: SLF001 -- what it renders with
        for person in people
    ]
    compiled = composer.renderer.compiled
    parts = [
        jinja2.Template(text)
        for text in (compiled.subject, compiled.text, compiled.html)
    ]
    count = given["obvious"]
    begun, cpu = time.perf_counter(), time.process_time()
    asyncio.run(_obvious(given, parts, contexts))
    return {
        "messages": count,
        "cpu": (time.process_time() - cpu) / count * MICRO,
        "messages_per_second": count / (time.perf_counter() - begun),
    }


async def _obvious(
    given: Figures, parts: Sequence[jinja2.Template], contexts: Sequence[Figures]
) -> None:
    import dkim  # from the extra "dev"

    key = (Path(given["folder"]) / "key").read_bytes()
    for number in range(given["obvious"]):
        known = contexts[number % len(contexts)]
        subject, text, html = (part.render(known) for part in parts)
        letter = EmailMessage()
        letter["From"] = FROM
        letter["To"] = known["email"]
        letter["Subject"] = subject
        letter["Message-ID"] = f"<b1.{number}@example.org>"
        letter["List-Unsubscribe"] = f"<{known['unsubscribe_url']}>"
        letter.set_content(text)
        letter.add_alternative(html, subtype="html")
        if given["is_signed"]:
            signed = dkim.sign(letter.as_bytes(), b"bench", b"example.org", key)
            name, _, value = signed.decode("ascii").partition(": ")
            letter[name] = value.replace("\r\n", "").strip()
        await aiosmtplib.send(
            letter, hostname="127.0.0.1", port=given["port"], start_tls=False
        )


if __name__ == "__main__":
    main()
