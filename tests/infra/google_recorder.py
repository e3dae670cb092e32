"""Google Cloud's REST APIs, as far as gcloud asks: remembers what was made, and writes down every request.

Every API has a prefix of its own (`/compute/…`); a POST to a collection makes a resource, GET finds it or answers 404,
DELETE takes it away. Operations are done at once. It checks nothing: that the arguments are right is gcloud's part.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

APIS = (
    "artifactregistry",
    "bigtableadmin",
    "cloudresourcemanager",
    "cloudscheduler",
    "compute",
    "iam",
    "logging",
    "run",
    "serviceusage",
    "storage",
)
PROJECT = "my-project-1"
_ID_PARAMETERS = ("repositoryId", "instanceId", "repository_id")
_UNKNOWN_ACCOUNT = {"error": {"code": 400, "message": "Service account does not exist.", "status": "INVALID_ARGUMENT"}}
_DENIED = {"error": {"code": 403, "message": "The caller does not have permission", "status": "PERMISSION_DENIED"}}
_LISTS = {"zones", "instances", "disks"}


class Recorder(ThreadingHTTPServer):
    """On loopback. `requests` are `METHOD /path`; `messages` are lines that machines have logged.

    The next `unknown_accounts` rights are refused, as Google does for some seconds after an account was made.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[tuple[str, str, Any]] = []
        self.resources: dict[str, dict[str, Any]] = {}
        self.messages: list[str] = []
        self.operations: list[dict[str, Any]] = []
        self.made = 0
        self.unknown_accounts = 0
        self.logged_in = True
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def environment(self) -> dict[str, str]:
        """What sends gcloud here."""
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": f"{self.url}/{api}/" for api in APIS}
        return {
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            # Cloud Run's host has the region before it, whatever the override says; a proxy gets it here all the same.
            "CLOUDSDK_PROXY_TYPE": "http",
            "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
            "CLOUDSDK_PROXY_PORT": str(self.server_address[1]),
            **overrides,
        }

    def named(self, kind: str) -> set[str]:
        """Names of the resources of a kind: `instances`, `disks`, …"""
        return {path.rsplit("/", 1)[1] for path in self.resources if path.split("/")[-2] == kind}


def _link(path: str) -> str:
    """As Google gives it: gcloud takes such addresses apart, and then asks here all the same."""
    return "https://www.googleapis.com" + path.replace("/compute/", "/compute/v1/", 1)


class _Handler(BaseHTTPRequestHandler):
    server: Recorder
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        text = self.rfile.read(size).decode()
        body = json.loads(text) if text.startswith("{") else {}
        parts = urlsplit(self.path)
        path, query = parts.path.rstrip("/"), parse_qs(parts.query)
        self.server.requests.append((self.command, path, body))
        found = self._do(path, query, body)
        if found is None:
            found = {"error": {"code": 404, "message": f"{path} was not found", "status": "NOT_FOUND"}}
        code = found["error"]["code"] if "error" in found else 200
        data = json.dumps(found).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, *arguments: object) -> None:
        """Requests are kept, not printed."""

    def _do(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> dict[str, Any] | None:
        resources = self.server.resources
        last = path.rsplit("/", 1)[1]
        # Accounts are asked for without their project.
        path = path.replace("/projects/-/", f"/projects/{PROJECT}/")
        if "/operations/" in path:
            return self._operation(path) if path.startswith("/compute/") else self.server.operations[int(last)]
        if last.endswith("IamPolicy"):
            if last.endswith("setIamPolicy") and self.server.unknown_accounts:
                self.server.unknown_accounts -= 1
                return {
                    "error": {"code": 400, "message": "Service account does not exist.", "status": "INVALID_ARGUMENT"}
                }
            return dict(body.get("policy") or {"bindings": [], "version": 1, "etag": "BwX="})
        if last == "entries:list":
            wanted = body.get("filter", "").rpartition("jsonPayload.message:")[2].strip('"')
            return {"entries": [{"insertId": "1"} for line in self.server.messages if wanted in line][:1]}
        if path == f"/cloudresourcemanager/v1/projects/{PROJECT}":
            return {"projectId": PROJECT, "projectNumber": "1"} if self.server.logged_in else _DENIED
        if path.startswith("/storage/"):
            return self._storage(path, body)
        if path.startswith("/run/"):
            return self._run(path, body)
        if self.command == "GET":
            return self._get(path)
        if self.command == "PATCH" and path.startswith("/cloudscheduler/"):
            resources[path] |= body
            return resources[path]
        if self.command == "DELETE":
            known = resources.pop(path, None)
            for inner in [one for one in resources if one.startswith(f"{path}/")]:
                del resources[inner]
            return None if known is None else self._operation(path)
        if self.command == "POST" and last not in {"stop", "start", "setMetadata", "setLabels"} and ":" not in last:
            return self._make(path, query, body)
        return self._operation(path)

    def _storage(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Buckets, which hold nothing."""
        resources = self.server.resources
        bucket, _, what = path.removeprefix("/storage/b").strip("/").partition("/")
        place = f"/storage/b/{bucket or body.get('name')}"
        if what == "iam":
            return body or {"bindings": [], "version": 1, "etag": "BwX="}
        if what == "o":
            return {"kind": "storage#objects"} if place in resources else None
        if self.command == "DELETE":
            return resources.pop(place, None)
        if self.command in {"POST", "PATCH"}:
            resources[place] = resources.get(place, {}) | body
        return resources.get(place)

    def _run(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """Cloud Run's jobs, which are ready at once."""
        resources = self.server.resources
        if self.command == "DELETE":
            return None if resources.pop(path, None) is None else {}
        if path.endswith(":run"):
            return {"metadata": {"name": "execution-1", "namespace": PROJECT}} if path[:-4] in resources else None
        if self.command in {"POST", "PUT"}:
            place = path if self.command == "PUT" else f"{path}/{body['metadata']['name']}"
            ready = {"conditions": [{"type": "Ready", "status": "True"}], "observedGeneration": 1}
            resources[place] = body | {"metadata": body["metadata"] | {"generation": 1}, "status": ready}
            return resources[place]
        return resources.get(path)

    def _get(self, path: str) -> dict[str, Any] | None:
        resources = self.server.resources
        if path in resources:
            return resources[path]
        head, _, last = path.rpartition("/")
        if "/zones/" in path and head.endswith("/zones"):
            return {"name": last, "status": "UP", "selfLink": _link(path)}
        if "/aggregated/" in path:
            groups: dict[str, Any] = {}
            for one, body in resources.items():
                if one.split("/")[-2] == last and "/zones/" in one:
                    zone = one.split("/zones/")[1].split("/")[0]
                    groups.setdefault(f"zones/{zone}", {last: []})[last].append(body)
            return {"items": groups}
        if last in _LISTS or "/regions/" not in path:
            inside = [body for one, body in resources.items() if one.rpartition("/")[0] == path]
            if inside or last in _LISTS:
                return {"items": inside}
        return None

    def _make(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> dict[str, Any]:
        self.server.made += 1
        inner = body.get("instance") or body.get("table") or body
        name = next((query[one][0] for one in _ID_PARAMETERS if one in query), None)
        name = name or body.get("instanceId") or body.get("tableId") or body.get("accountId") or body.get("name")
        if path.startswith("/iam/") and path.endswith("/serviceAccounts"):
            project = path.split("/projects/")[1].split("/", maxsplit=1)[0]
            name = f"{name}@{project}.iam.gserviceaccount.com"
        place = f"{path}/{str(name).rpartition('/')[2]}"
        full = place.split("/", 3)[3] if not place.startswith("/compute/") else name
        made = {**inner, "name": full, "selfLink": _link(place)}
        if place.startswith("/compute/"):
            made |= {"creationTimestamp": f"2026-01-01T00:00:{self.server.made:02d}.000Z", "status": "RUNNING"}
            if "/zones/" in place:
                made["zone"] = _link(place.rsplit("/", 2)[0])
        if "serviceAccounts" in path:
            made["email"] = name
        self.server.resources[place] = made
        if "serviceAccounts" in path or path.endswith("/tables"):
            return made
        return self._operation(place, made)

    def _operation(self, path: str, response: dict[str, Any] | None = None) -> dict[str, Any]:
        if not path.startswith("/compute/"):
            head = path.split("/", 3)[3].split("/")
            operation = f"operations/{len(self.server.operations)}"
            place = "/".join([*head[:4], operation]) if "locations" in head[2:3] else operation
            self.server.operations.append({"name": place, "done": True, "response": response or {}})
            return self.server.operations[-1]
        target = path.rsplit("/", 1)[0] if path.rsplit("/", 1)[1] in {"stop", "start", "setMetadata"} else path
        scope = path
        for word in ("/zones/", "/regions/", "/global/"):
            if word in path:
                head, tail = path.split(word, 1)
                scope = f"{head}{word}{tail.split('/')[0]}" if word != "/global/" else f"{head}/global"
                break
        answer = {
            "kind": "compute#operation",
            "id": "1",
            "name": "operation-1",
            "status": "DONE",
            "progress": 100,
            # What is deleted is not asked for afterwards.
            "operationType": "delete" if self.command == "DELETE" else "any",
            "selfLink": _link(f"{scope}/operations/operation-1"),
            "targetLink": _link(target),
        }
        if "/operations/" in path:
            # What it was about is not remembered; gcloud asks for the target only after an insert.
            answer["targetLink"] = next(iter(reversed(self.server.resources.values())), {}).get("selfLink", "")
        if "/zones/" in path:
            answer["zone"] = _link(scope)
        if "/regions/" in path:
            answer["region"] = _link(scope)
        return answer
