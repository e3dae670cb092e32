"""What an S3 store's answers mean to a caller, with the setting to mend."""

from __future__ import annotations

from typing import Any, Final

from storage_backends.errors import (
    BackendError,
    PermanentBackendError,
    SetupError,
    StorageFull,
    TransientBackendError,
)

_CREDENTIALS = (
    "renew the credentials that boto3 finds (AWS_ACCESS_KEY_ID, AWS_PROFILE, the machine's role); what waits in a "
    "journal is stored then, without a restart"
)
_PERMISSION = (
    "allow these credentials s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and, to merge and delete "
    "days, s3:DeleteObject on what is in it"
)
_BUCKET = "make the bucket, or mend --s3-bucket (S3_BUCKET)"
_REGION = "the bucket is elsewhere: mend --s3-region (S3_REGION, AWS_DEFAULT_REGION) or --s3-endpoint-url"

_MENDS: Final = {
    **dict.fromkeys(
        (
            "AuthFailure",
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidToken",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
            "UnrecognizedClientException",
            "401",
        ),
        _CREDENTIALS,
    ),
    **dict.fromkeys(("AccessDenied", "AccountProblem", "AllAccessDisabled", "403", "NotSignedUp"), _PERMISSION),
    **dict.fromkeys(("NoSuchBucket", "InvalidBucketName"), _BUCKET),
    **dict.fromkeys(
        (
            "301",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "IncorrectEndpoint",
            "PermanentRedirect",
        ),
        _REGION,
    ),
    "RequestTimeTooSkewed": "set this machine's clock (NTP)",
}
_FULL: Final = frozenset({"507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"})
_PASSING: Final = frozenset(
    {"409", "ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown", "Throttling"}
)
_FROM_CREDENTIALS: Final = frozenset(
    {
        "CredentialRetrievalError",
        "LoginTokenLoadError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)


def code_of(error: Exception) -> str:
    """The store's own name for what went wrong, or the HTTP status where it gave none; empty for no answer at all."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or _status(response) or "")


def translate(error: Exception, where: str) -> BackendError:
    """The error for what boto3 raised over `where`, the full name of an object or a bucket."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    code, status = code_of(error), _status(response)
    said = response.get("Error", {}).get("Message") or str(error)
    text = f"{where}: {f'{code}, ' if code and code not in said else ''}{' '.join(said.split())}"
    if type(error).__name__ in _FROM_CREDENTIALS:
        return SetupError(f"{text}; {_CREDENTIALS}")
    if not response:
        # Nothing came back, or it broke off: whether the call was carried out is not known, and need not be.
        return TransientBackendError(f"{text}; check the network and --s3-endpoint-url, if it is set")
    if code in _MENDS:
        return SetupError(f"{text}; {_MENDS[code]}")
    if code in _FULL:
        return StorageFull(f"{text}; make room or raise the quota")
    if code in _PASSING or status >= 500 or status == 429:
        return TransientBackendError(text, retry_after_s=_retry_after_s(response))
    if status in {401, 403}:
        return SetupError(f"{text}; {_PERMISSION}")
    return PermanentBackendError(text)


def _status(response: dict[str, Any]) -> int:
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def _retry_after_s(response: dict[str, Any]) -> float | None:
    asked = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", "")
    return float(asked) if asked.isdecimal() else None
