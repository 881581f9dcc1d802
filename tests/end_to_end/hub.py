"""A server on this machine that speaks as much of the Hugging Face hub's API as an upload needs."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Hub:
    """Repositories in memory. `seen` has method, path and Authorization of every request; `files` what was committed.

    Files over 10 kB go by LFS. `refusal` is a status and a text to answer commits with.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.repos: dict[str, bool] = {}
        """Whether each is private."""
        self.files: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.seen: list[tuple[str, str, str]] = []
        self.refusal: tuple[int, str] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON."""
        self.seen.append((method, path, authorization))
        if method == "PUT":
            self.stored[hashlib.sha256(body).hexdigest()] = body
            return 200, {}
        if authorization != f"Bearer {self.token}":
            return 401, {"error": f"Invalid credentials: {authorization}"}
        parts = path.partition("?")[0].strip("/").split("/")
        if parts == ["api", "whoami-v2"]:
            return 200, {"name": "me", "type": "user"}
        if parts == ["api", "validate-yaml"]:
            return 200, {"errors": [], "warnings": []}
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            name = name if "/" in name else f"me/{name}"
            self.repos[name] = asked.get("visibility") == "private" or asked.get("private", False)
            return 200, {"url": f"{self.url}/{name}", "name": name, "id": "1"}
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            actions = {"upload": {"href": f"{self.url}/lfs"}}
            return 200, {"transfer": "basic", "objects": [{**each, "actions": actions} for each in objects]}
        if parts[:2] in (["api", "models"], ["api", "datasets"]) and len(parts) >= 4:
            return self._repo("/".join(parts[2:4]), parts[4:], body)
        return 404, {"error": "not here"}

    def _repo(self, repo: str, rest: list[str], body: bytes) -> tuple[int, Any]:
        if repo not in self.repos:
            return 404, {"error": "Repository not found"}
        if not rest or rest[0] == "revision":
            return 200, {"id": repo, "private": self.repos[repo], "sha": "0" * 40, "siblings": [], "tags": []}
        if rest[0] == "tree":
            return 200, [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in self.files]
        if rest[0] == "preupload":
            return 200, {
                "files": [
                    {
                        "path": each["path"],
                        "uploadMode": "lfs" if each["size"] > 10_000 else "regular",
                        "shouldIgnore": False,
                    }
                    for each in json.loads(body)["files"]
                ]
            }
        if self.refusal is not None:
            return self.refusal[0], {"error": self.refusal[1]}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "deletedFile":
                del self.files[value["path"]]
            if line["key"] == "lfsFile":
                self.files[value["path"]] = self.stored[value["oid"]]
        return 200, {
            "commitUrl": f"{self.url}/{repo}/commit/1",
            "commitOid": "1",
            "commitMessage": "m",
            "success": True,
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _respond(self) -> None:
                body = self._body()
                status, document = hub.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
                told = json.dumps(document).encode()
                self.send_response(status)
                if status == 404 and "Repository" in str(document):
                    self.send_header("X-Error-Code", "RepoNotFound")
                if status >= 400:
                    self.send_header("X-Error-Message", document["error"])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            do_GET = do_POST = do_PUT = _respond  # noqa: N815

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
