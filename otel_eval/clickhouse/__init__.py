"""ClickHouse: where analysts query what was scored. A server or cluster over HTTP(S), or the embedded one.

Who runs where
- `server.EmbeddedServer` starts and supervises a child process that is a ClickHouse server, out of the wheel of
  chdb-core (extra `embedded`): its own HTTP interface, users, grants and limits; nothing is emulated. The hop writes to
  it over loopback as `writer`, while analysts query as `reader` with curl, Grafana, DBeaver or `otel-eval query`.
- `client.ClickHouse` is the one client, made from an `endpoint.Endpoint` (a server, embedded or not) or from
  `endpoint.InProcess`, which opens the directory in this process: for one command, when no server runs. Whether the
  server cannot be had here, `EmbeddedServer.start` says.

The way in. The chdb wheel carries clickhouse-local, which can listen after the statement SYSTEM START LISTEN; only the
module-level function `chdb._chdb.query` lets it through. That name is semi-private, so the version is pinned
(`server.VERSION`), checked before the start, and the child ends with a code of its own when the way is closed.

Files, in a directory that only the owner can write (0700 when it is made here)
    lock                held by the process that uses the directory, and by its child
    writer.password     0600, made once; whoever has it may do everything in this ClickHouse
    reader.password     0600, made once; for analysts: hand it to whom may read the scored traces
    connection.json     0600, while a server listens: host, ports, version, the parent's process
    server/             0700, the child's current directory: config.xml, users.xml (hashes only), tmp/
    data/               0700, the databases

What it guarantees
- What an insert was acknowledged for survives `kill -9` of the server, of the hop, and of both (not a power failure:
  there is no fsync). The server that died is started again with growing waits, on the same port. It ends with its
  parent, however that ends, and never shares its directory.
- It listens on loopback only, and no secret of ours is in its environment.
- The reader may SELECT from one database. Inserts, DDL, `url()`, `remote()`, the table function `file()` and the
  tables of `system` that tell of others are refused, and so is every change of what limits it: time, memory, rows and
  bytes of a result, queries at once.
- The engine's own user `default` cannot have a password, so its one allowed session is the engine's own, from before it
  listens until it ends: everybody else who comes without a password is refused, over HTTP and the native protocol.
- The scalar function `file('/path')` knows no privilege, so the kernel confines the child (Landlock): it can open `server/`,
  `data/`, Python's packages and the system's libraries, but nothing else of a home or /etc, and neither
  password file. Where the system has no Landlock (macOS, Linux before 5.19, some containers), a warning says that
  readers can read what this user can.

Limits: no replication, no ON CLUSTER, no users by SQL. A server that hangs without dying is not noticed. The way in is
tested on Linux x86-64 only.

Errors: `failures` holds, for each code of ClickHouse, whether the same bytes may be sent again.
"""
