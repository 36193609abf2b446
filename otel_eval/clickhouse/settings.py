"""The two files that the embedded engine reads: config.xml and users.xml."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree as ET

from otel_eval.config.values import Secret

HOST = "127.0.0.1"
WRITER = "writer"
READER = "reader"

_FORBIDDEN = {
    "allow_python_table_function": "0",  # it would end the process
    "allow_introspection_functions": "0",
}
# The engine's own user `default` cannot have a password. Its one session is the engine's, from before it listens until
# it ends: nobody else gets one.
_ENGINE_LIMITS = {"max_sessions_for_user": "1"}
_TIME = "max_execution_time"
_READER_LIMITS = {
    _TIME: "60",
    "max_result_rows": "1000000",
    "max_result_bytes": str(256 << 20),
    "max_concurrent_queries_for_user": "8",
    "max_temporary_data_on_disk_size_for_user": str(4 << 30),
    "allow_ddl": "0",
    "allow_experimental_ai_functions": "0",
}


class Shard(NamedTuple):
    """One shard of a cluster: where its native protocol listens, and who asks there."""

    port: int
    user: str
    password: Secret
    host: str = HOST


Clusters = Mapping[str, Sequence[Shard]]


def config_xml(http_port: int, tcp_port: int | None, max_memory_bytes: int, clusters: Clusters) -> bytes:
    """config.xml; port 0 lets the system choose.

    There is no `logger`: its level would not be read, and its file would fill with trace lines.
    """
    root = ET.Element("clickhouse")
    _texts(
        root,
        listen_host=HOST,  # exactly one, else port 0 is not possible
        http_port=str(http_port),
        users_config="users.xml",
        user_files_path="files",
        timezone="UTC",
        max_server_memory_usage=str(max_memory_bytes),
        mark_cache_size=str(max_memory_bytes // 10),
        index_mark_cache_size=str(max_memory_bytes // 20),
    )
    if tcp_port is not None:
        _texts(root, tcp_port=str(tcp_port))
    _remote_servers(root, clusters)
    return ET.tostring(root)


def users_xml(passwords: Mapping[str, Secret], database: str, max_memory_bytes: int) -> bytes:
    """users.xml, with hashes of the passwords.

    The reader may SELECT from `database` (every database that begins so when it ends in `*`) and may change settings,
    but none that limits it.
    """
    root = ET.Element("clickhouse")
    reader = _READER_LIMITS | {
        "max_memory_usage": str(max_memory_bytes // 3),
        "max_memory_usage_for_user": str(max_memory_bytes // 2),
    }
    profiles = ET.SubElement(root, "profiles")
    # The others build on this one. Inserts are asynchronous by default since 26.2; batches are made here.
    _profile(profiles, "default", {"async_insert": "0"} | _FORBIDDEN, fixed=_FORBIDDEN)
    # An insert that takes too much by itself is refused as too large, and cut; else it would be tried again for ever.
    _profile(profiles, WRITER, {"max_memory_usage": str(max_memory_bytes * 2 // 3)}, fixed=())
    _profile(profiles, "engine", _ENGINE_LIMITS, fixed=_ENGINE_LIMITS)
    _profile(profiles, READER, reader | {"readonly": "2"}, fixed=reader)
    ET.SubElement(ET.SubElement(root, "quotas"), "default")
    users = ET.SubElement(root, "users")
    _user(users, "default", "engine", None, ["GRANT SYSTEM LISTEN ON *.*", "GRANT SELECT ON system.numbers"])
    _user(users, WRITER, WRITER, passwords[WRITER], [])
    _user(users, READER, READER, passwords[READER], [f"GRANT SELECT ON {_pattern(database)}.*"])
    return ET.tostring(root)


def _profile(profiles: ET.Element, name: str, settings: Mapping[str, str], fixed: Iterable[str]) -> None:
    """Settings of a user, who cannot change the fixed ones, but may ask for less time."""
    profile = ET.SubElement(profiles, name)
    _texts(profile, **settings)
    constraints = ET.SubElement(profile, "constraints")
    for setting in fixed:
        constraint = ET.SubElement(constraints, setting)
        if setting == _TIME:  # Grafana's client sets it; 0 would be no limit
            _texts(constraint, min="1", max=settings[setting])
        else:
            ET.SubElement(constraint, "readonly")


def _user(users: ET.Element, name: str, profile: str, password: Secret | None, grants: Sequence[str]) -> None:
    """A user of this machine; without grants it may do everything."""
    user = ET.SubElement(users, name)
    if password is None:
        _texts(user, password="")
    else:
        _texts(user, password_sha256_hex=hashlib.sha256(password.reveal().encode()).hexdigest())
    _texts(ET.SubElement(user, "networks"), ip=HOST)
    _texts(user, profile=profile, quota="default")
    if grants:
        queries = ET.SubElement(user, "grants")
        for grant in grants:
            ET.SubElement(queries, "query").text = grant


def _pattern(database: str) -> str:
    name = database.removesuffix("*")
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`" + "*" * database.endswith("*")


def _remote_servers(root: ET.Element, clusters: Clusters) -> None:
    if not clusters:
        return
    servers = ET.SubElement(root, "remote_servers")
    for name, shards in clusters.items():
        cluster = ET.SubElement(servers, name)
        for shard in shards:
            replica = ET.SubElement(ET.SubElement(cluster, "shard"), "replica")
            _texts(replica, host=shard.host, port=str(shard.port), user=shard.user, password=shard.password.reveal())


def _texts(parent: ET.Element, **texts: str) -> None:
    for name, text in texts.items():
        ET.SubElement(parent, name).text = text
