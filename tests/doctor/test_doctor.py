"""`otel-eval doctor` against real servers on loopback: what is well, what is not, and that nothing is sent."""

import asyncio
import datetime
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from otel_eval.cli.doctor import doctor
from otel_eval.standin import StandIn
from tests import hop
from tests.conftest import StartProcess
from tests.doctor.looking import Findings, configured, findings, of
from tests.exporters.certificates import Authority, Pair
from tests.judging.judges import KEY
from tests.sink import Sink

PROJECT = Path(__file__).parents[2]
FULL = 'mkdir -p "$1" && mount -t tmpfs -o size=256k tmpfs "$1" && '


@pytest.fixture(autouse=True)
def _plain_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("OTEL_", "ANTHROPIC_", "OPENAI_")) or "proxy" in name.lower()]:
        monkeypatch.delenv(name)


async def test_where_all_is_well_each_line_is_ok(sink: Sink, tmp_path: Path) -> None:
    configured(tmp_path, {"otlp": hop.otlp_to(sink.grpc_port), "otlp_http": {"endpoint": f"http://127.0.0.1:{sink.http_port}"}})
    status, found = await findings(tmp_path)
    assert status == 0
    assert {check for check, _, _ in found} == {
        "configuration", "port receivers.otlp.grpc", "port receivers.otlp.http", "port api", "port telemetry.metrics",
        "port telemetry.health", "journal", "exporter otlp", "exporter otlp_http", "judge", "files", "memory", "python", "clock",
    }  # fmt: skip
    assert all(one == "ok" for check, one, _ in found if check not in {"journal", "memory", "files"}), found
    assert sink.requests == 0
    assert not (tmp_path / "journal").exists(), "nothing is made"


async def test_lines_for_people(tmp_path: Path) -> None:
    configured(tmp_path, {"otlp": hop.otlp_to(hop.free_port())})
    result = await asyncio.to_thread(CliRunner().invoke, doctor, ["--config", str(tmp_path / "config.yaml")])
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if "exporter otlp" in line]
    assert line.startswith("problem  exporter otlp ")
    assert "the connection is refused; nothing listens there, so start it or correct the endpoint" in line
    assert result.stdout.endswith("1 problem found\n")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"journal": {"directory": "/dev/null/journal"}}, "/dev/null/journal cannot be written"),
        ({"sampling": {"baseline": {"rat": 1}}}, "config.yaml"),
        ({"judging": {"evaluators": ["latenci"]}}, "no evaluator and no rubric is called 'latenci'"),
    ],
)
async def test_settings_that_cannot_work(section: dict[str, Any], said: str, tmp_path: Path) -> None:
    configured(tmp_path, **section)
    status, found = await findings(tmp_path)
    assert status == 1
    assert any(said in text for _, one, text in found if one == "problem"), found


async def test_a_port_of_another_program(tmp_path: Path) -> None:
    config = configured(tmp_path)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", int(config["telemetry"]["health"].rpartition(":")[2]))
    async with server:
        status, found = await findings(tmp_path)
    ((one, text),) = of(found, "port telemetry.health")
    assert (status, one) == (1, "problem")
    assert "is in use by another program" in text


async def test_a_hop_that_runs_is_known(sink: Sink, tmp_path: Path, start_process: StartProcess) -> None:
    process = await start_process({"otlp": hop.otlp_to(sink.grpc_port)})
    status, found = await findings(tmp_path)
    assert status == 0, found
    assert of(found, "hop") == [("ok", f"process {process.pid} runs, and says that it is ready")]
    for port in ("receivers.otlp.grpc", "receivers.otlp.http", "telemetry.health"):
        assert f"is in use by the hop that runs (process {process.pid})" in of(found, f"port {port}")[0][1]
    assert await process.stop() == 0, "it was not disturbed"


async def test_listening_to_everybody_without_a_token(tmp_path: Path) -> None:
    configured(tmp_path, receivers={"otlp": {"protocols": {"grpc": {"endpoint": f"0.0.0.0:{hop.free_port()}"}}}})
    status, found = await findings(tmp_path)
    assert (status, [one for one, _ in of(found, "port receivers.otlp.grpc")]) == (0, ["ok", "warning"])


def expired(directory: Path) -> Pair:
    """A certificate for loopback that has ended yesterday, signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=9))
    builder = builder.not_valid_after(now - datetime.timedelta(days=1))
    certificate = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    pair = Pair(directory / "old.cert.pem", directory / "old.key.pem")
    pair.cert.write_bytes(certificate.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return pair


@asynccontextmanager
async def listening(pair: Pair | None = None, answer: bytes = b"") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that keeps what it gets, and answers it with this."""
    context = None
    if pair is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.cert, pair.key)
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                got.append(chunk)
                if answer:
                    writer.write(answer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], got


async def test_certificates(tmp_path: Path) -> None:
    old, authority = expired(tmp_path), Authority(tmp_path, "authority")
    fresh = authority.issue("fresh", "localhost")
    async with listening(old) as (old_port, got), listening(fresh) as (port, also_got):
        configured(
            tmp_path,
            {
                "otlp/old": {"endpoint": f"localhost:{old_port}", "tls": {"ca_file": str(old.cert)}},
                "otlp/unknown": {"endpoint": f"localhost:{port}"},
                "otlp/short": {"endpoint": f"localhost:{port}", "tls": {"ca_file": str(authority.file)}},
                "otlp/other": {"endpoint": f"127.0.0.1:{port}", "tls": {"ca_file": str(authority.file)}},
            },
        )
        status, found = await findings(tmp_path)
    assert status == 1
    ((one, text),) = of(found, "exporter otlp/old")
    assert (one, "certificate has expired" in text) == ("problem", True)
    assert of(found, "exporter otlp/unknown")[0][0] == "problem"
    assert "IP address mismatch" in of(found, "exporter otlp/other")[0][1]
    ((one, text),) = of(found, "exporter otlp/short")
    assert (one, "so renew it" in text) == ("warning", True), "it is valid for one day"
    assert got == also_got == [], "nothing is sent"


async def test_servers_that_never_answer_take_no_longer_than_is_allowed(tmp_path: Path) -> None:
    async with listening() as (port, _):
        names = ("otlp/tls", "otlp/tls2", "otlp/tls3")
        exporters: dict[str, Any] = {name: {"endpoint": f"127.0.0.1:{port}"} for name in names}
        exporters["clickhouse"] = {"endpoint": f"http://127.0.0.1:{port}"}
        judging = {"evaluators": ["privacy_and_safety"], "provider": {"api_key": KEY, "base_url": f"http://127.0.0.1:{port}"}}
        configured(tmp_path, exporters, judging=judging)
        async with asyncio.timeout(20):  # fourteen checks, which would take 42 s one after the other
            status, found = await findings(tmp_path, "--timeout", "3")
    assert status == 1
    bad = [check for check, one, _ in found if one == "problem"]
    assert bad == [*(f"exporter {name}" for name in (*names, "clickhouse")), "judge"]


async def test_http_backends_are_asked_for_their_clock_and_for_nothing_else(tmp_path: Path) -> None:
    date = formatdate(time.time() - 60, usegmt=True)
    async with listening(answer=f"HTTP/1.1 405 No\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode()) as (port, got):
        secret = "Bearer very-secret-token"
        configured(tmp_path, {"otlp_http": {"endpoint": f"http://127.0.0.1:{port}/otlp", "headers": {"authorization": secret}}})
        status, found = await findings(tmp_path)
    assert status == 0
    assert [(chunk.split(b"\r\n")[0], secret.encode() in chunk) for chunk in got] == [(b"HEAD / HTTP/1.1", False)]
    ((one, text),) = of(found, "clock")
    assert (one, "59 s ahead of that of exporter otlp_http" in text or "60 s ahead" in text) == ("warning", True), text


@pytest.mark.parametrize(
    ("provider", "model", "status", "said"),
    [
        ({"api_key": KEY}, None, "ok", "takes the key and has claude-"),
        ({"api_key": "sk-wrong-and-secret"}, None, "problem", "refuses the key"),
        ({"api_key": KEY}, "in-house-7b", "problem", "has no in-house-7b for it"),
        ({}, None, "warning", "there is no API key, so these are blocked: privacy_and_safety; set ANTHROPIC_API_KEY"),
        ({"api_key": KEY, "base_url": "http://127.0.0.1:9"}, None, "problem", "127.0.0.1 gives no answer"),
    ],
)
async def test_the_judge(provider: dict[str, str], model: str | None, status: str, said: str, tmp_path: Path) -> None:
    async with StandIn(api_key=KEY) as judge:
        rubric = {"rubric": "privacy_and_safety", **({"model": model} if model else {})}
        configured(tmp_path, judging={"evaluators": ["answered", rubric], "provider": {"base_url": judge.url, **provider}})
        _, found = await findings(tmp_path)
        asked = [one.path for one in judge.seen]
    assert of(found, "judge")[0][0] == status
    assert said in of(found, "judge")[0][1]
    assert not any("messages" in path for path in asked), "no question, which would cost something"
    assert all(key not in text for _, _, text in found for key in (KEY, "sk-wrong-and-secret"))


async def test_a_model_without_a_price(tmp_path: Path) -> None:
    async def listed(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "in-house-7b"}]})

    app = web.Application()
    app.add_routes([web.get("/v1/models", listed)])
    async with TestServer(app) as server:
        provider = {"api": "openai", "api_key": "any", "base_url": str(server.make_url("/v1"))}
        judging = {"evaluators": [{"rubric": "privacy_and_safety", "model": "in-house-7b"}], "provider": provider}
        configured(tmp_path, judging=judging)
        status, found = await findings(tmp_path)
    assert (status, [one for one, _ in of(found, "judge")]) == (0, ["ok", "warning"]), found


def child(directory: Path, before: str, wrapper: Callable[[], list[str]] = list) -> Findings:
    """The command in a process of its own, after these words of shell."""
    script = f'{before}exec "$0" -c "from otel_eval.cli.doctor import doctor; doctor()" --json --config "$2"'
    line = [*wrapper(), "sh", "-c", script, sys.executable, str(directory / "journal"), str(directory / "config.yaml")]
    done = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60)
    document = json.loads(done.stdout or "{}")
    assert done.returncode == (1 if document["problems"] else 0), done.stderr
    return [(one["check"], one["status"], one["text"]) for one in document["findings"]]


def test_few_open_files(tmp_path: Path) -> None:
    configured(tmp_path)
    ((one, text),) = of(child(tmp_path, "ulimit -n 300; "), "files")
    assert (one, "only 300 can be open" in text) == ("problem", True)


def test_a_full_disk(tmp_path: Path) -> None:
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run([*namespace, "sh", "-c", f"{FULL}true", "sh", str(tmp_path / "journal")], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system does not let us mount a small file system")
    configured(tmp_path)
    found = child(tmp_path, f'{FULL}{{ dd if=/dev/zero of="$1/other" bs=4k 2>/dev/null || true; }}; ', lambda: namespace)
    ((one, text),) = of(found, "journal")
    assert (one, "No space left on device; make room" in text) == ("problem", True)
