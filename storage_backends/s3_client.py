"""One bucket, or a prefix in it, through boto3: its own credential chain, our errors, reads that are repeated."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import tenacity

from storage_backends.errors import PermanentBackendError, SetupError, TransientBackendError
from storage_backends.formats import PartGone
from storage_backends.s3_errors import code_of, translate

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_S: Final = 5.0
ANSWER_S: Final = 10.0
"""A call waits so long for each piece of an answer. A write that takes longer is repeated, which changes nothing."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[\w.=-]+(?:/[\w.=-]+)*")
_READ_ATTEMPTS = 6
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Location:
    """Where in which store. `region` and `endpoint_url` None: as boto3's own configuration says.

    Raises:
        ValueError: one of them cannot be; names the setting.
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint_url: str | None = None

    def __post_init__(self) -> None:
        if not _BUCKET.fullmatch(self.bucket):
            raise ValueError(f"--s3-bucket {self.bucket!r} is no bucket's name: 3 to 63 of a-z, 0-9, dot and dash")
        if self.prefix and (not _PREFIX.fullmatch(self.prefix) or ".." in self.prefix):
            raise ValueError(f"--s3-prefix {self.prefix!r} must be names with / between them, such as binance/prod")
        if self.endpoint_url is not None:
            parts = urlsplit(self.endpoint_url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError(f"--s3-endpoint-url {self.endpoint_url!r} must be a URL, as http://127.0.0.1:9000")

    def __str__(self) -> str:
        return f"s3://{self.bucket}{f'/{self.prefix}' if self.prefix else ''}"


class S3Client:
    """Calls on objects of one location, by their path in it. May be used by several threads.

    Credentials that ran out are looked up anew once, by a new session: a file or a role may have others by now.

    Raises (every call):
        SetupError: credentials, permission, bucket, region; names what to mend.
        BackendError: otherwise, as `s3_errors.translate` says.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._client: Any = None

    def where(self, path: str = "") -> str:
        """The full name, for people."""
        return f"{self.location}/{path}" if path else str(self.location)

    def put(self, path: str, body: Any, md5: bytes, metadata: dict[str, str], *, only_new: bool = True) -> bool:
        """One PUT. False, and nothing touched, when `only_new` and there is such an object.

        Not repeated, since that is for the caller to decide; where it replaces what is there, it is as reads are.
        """
        from base64 import b64encode

        how: dict[str, Any] = {"Body": body, "ContentMD5": b64encode(md5).decode(), "Metadata": metadata}
        if not only_new:
            self._read("put_object", path, **how)
            return True
        try:
            self._call("put_object", path, IfNoneMatch="*", **how)
        except _AlreadyThere:
            return False
        return True

    def head(self, path: str) -> dict[str, Any] | None:
        """What the store says of an object; None when there is none."""
        answer: dict[str, Any] | None = self._read("head_object", path, missing_is_none=True)
        return answer

    def read(self, path: str, span: str) -> tuple[bytes, int]:
        """The bytes of `span` (`first-last`, both included, or `-count`) and the size of the whole object.

        Raises:
            PartGone: there is no such object.
        """
        answer = self._read("get_object", path, missing_is_none=True, Range=f"bytes={span}")
        if answer is None:
            raise PartGone(self.where(path))
        body: bytes = answer["Body"]
        return body, int(answer["ContentRange"].rpartition("/")[2]) if "ContentRange" in answer else len(body)

    def pages(self, prefix: str, after: str = "", delimiter: str = "") -> Iterator[dict[str, Any]]:
        """Listings of the paths that begin with `prefix`, behind `after`, in the order of names."""
        how: dict[str, Any] = {"Prefix": self._key(prefix), "MaxKeys": _PAGE}
        how |= {"StartAfter": self._key(after)} if after else {}
        how |= {"Delimiter": delimiter} if delimiter else {}
        while True:
            page = self._read("list_objects_v2", None, **how) or {}
            yield page
            if not page.get("IsTruncated"):
                return
            how["ContinuationToken"] = page["NextContinuationToken"]

    def path_of(self, key: str) -> str:
        """The path of an object by its key in the bucket."""
        return key.removeprefix(f"{self.location.prefix}/") if self.location.prefix else key

    def delete(self, path: str) -> None:
        """Removes an object; one that is gone is no error."""
        self._read("delete_object", path)

    def close(self) -> None:
        """Gives connections back."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _key(self, path: str) -> str:
        return f"{self.location.prefix}/{path}" if self.location.prefix else path

    def _read(self, operation: str, path: str | None, *, missing_is_none: bool = False, **how: Any) -> Any:
        """A call that may be repeated at will, and is while what fails passes."""
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_READ_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
            retry=tenacity.retry_if_exception(_passes),
            reraise=True,
        ):
            with attempt:
                try:
                    return self._call(operation, path, **how)
                except _Missing:
                    if missing_is_none:
                        return None
                    raise
        raise AssertionError

    def _call(self, operation: str, path: str | None, **how: Any) -> Any:
        try:
            return self._call_once(operation, path, **how)
        except SetupError:
            self._client = None
            return self._call_once(operation, path, **how)

    def _call_once(self, operation: str, path: str | None, **how: Any) -> Any:
        try:
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            raise PermanentBackendError("--backend s3 needs boto3: pip install 'depth-collector[s3]'") from error
        named = {} if path is None else {"Key": self._key(path)}
        body: Any = how.get("Body")
        if hasattr(body, "seek"):
            body.seek(0)
        try:
            client = self._client  # another thread may find that it is of no use any more
            if client is None:
                client = self._client = _connect(self.location)
            answer = getattr(client, operation)(Bucket=self.location.bucket, **named, **how)
            if operation == "get_object":
                with answer["Body"] as stream:
                    answer["Body"] = stream.read()
        except (BotoCoreError, ClientError) as error:
            code = code_of(error)
            if code in {"412", "PreconditionFailed"}:
                raise _AlreadyThere from error
            if code in {"404", "NoSuchKey"}:
                raise _Missing(f"{self.where(path or '')}: not there") from error
            raise translate(error, self.where(path or "")) from error
        except OSError as error:  # urllib3's own, while a body is read
            raise translate(error, self.where(path or "")) from error
        return answer


class _AlreadyThere(Exception):
    pass


class _Missing(TransientBackendError):
    pass


def _passes(error: BaseException) -> bool:
    return isinstance(error, TransientBackendError) and not isinstance(error, SetupError | _Missing)


def _connect(location: Location) -> Any:
    """A client. Whoever calls decides on repeats, so boto3 makes none of its own."""
    import boto3
    from botocore.config import Config

    session = boto3.session.Session()
    return session.client(
        "s3",
        region_name=location.region or session.region_name or os.environ.get("AWS_REGION"),
        endpoint_url=location.endpoint_url,
        config=Config(
            connect_timeout=CONNECT_S,
            read_timeout=ANSWER_S,
            retries={"mode": "standard", "total_max_attempts": 1},
            # Content-MD5 is understood by every store, checksums in trailers are not.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"} if location.endpoint_url else None,
        ),
    )
