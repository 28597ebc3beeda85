"""What the errors of AWS and botocore mean to the engine."""

from __future__ import annotations

import botocore.exceptions as b

from penstock.client_errors import ErrorTable
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.tls import certificate_problem


class Refused(ConnectorError):
    """AWS, or its client, refuses what a call asks for."""


class NoQueue(NotConnected):
    """The queue does not exist; another program may make it."""


_CREDENTIALS = (
    "check `access_key_id` and `secret_access_key`, or `profile`, or what else of the environment gives credentials"
)
_REGION = "set `region`, or the environment variable AWS_REGION"
_PERMISSION = "the connector's README lists the permissions that the worker needs"

BY_TYPE: dict[type[BaseException], type[ConnectorError]] = {
    **dict.fromkeys((OSError, TimeoutError, b.HTTPClientError, b.ConnectionError), NotConnected),
    **dict.fromkeys((b.MetadataRetrievalError, b.CredentialRetrievalError), NotConnected),
    **dict.fromkeys((b.SSLError, b.InvalidEndpointConfigurationError), FatalConnectorError),
    **dict.fromkeys((b.NoCredentialsError, b.PartialCredentialsError, b.ProfileNotFound), FatalConnectorError),
    **dict.fromkeys((b.ClientError, b.ParamValidationError), Refused),
    **dict.fromkeys((b.NoRegionError, b.InvalidRegionError), FatalConnectorError),
    **dict.fromkeys((b.SSOError, b.TokenRetrievalError, b.UnauthorizedSSOTokenError), FatalConnectorError),
}

REFUSED = ("InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "InvalidSignatureException",
           "MissingAuthenticationToken", "IncompleteSignature", "ExpiredToken", "InvalidSecurity")  # fmt: skip
BY_CODE: dict[str, type[ConnectorError]] = {
    **dict.fromkeys(REFUSED, FatalConnectorError),
    **dict.fromkeys(
        ("AccessDenied", "AuthorizationError", "InvalidAddress", "UnsupportedOperation"), FatalConnectorError
    ),
    **dict.fromkeys(("NonExistentQueue", "QueueDoesNotExist"), NoQueue),
    **dict.fromkeys(("QueueDeletedRecently", "NotFound"), NotConnected),
    **dict.fromkeys(("OverLimit", "Throttl", "RequestThrottled", "KmsThrottled", "KMSThrottling"), NotConnected),
    **dict.fromkeys(("InternalError", "InternalFailure", "ServiceUnavailable", "RequestTimeout", "5"), NotConnected),
}

REMEDIES: dict[str | type[BaseException], str] = {
    **dict.fromkeys(REFUSED, _CREDENTIALS),
    **dict.fromkeys((b.NoCredentialsError, b.PartialCredentialsError, b.ProfileNotFound), _CREDENTIALS),
    **dict.fromkeys((b.NoRegionError, b.InvalidRegionError), _REGION),
    **dict.fromkeys(("AccessDenied", "AuthorizationError"), _PERMISSION),
    **dict.fromkeys(("NonExistentQueue", "QueueDoesNotExist"), "create it, or set `create: true`"),
}


def code_of(error: BaseException) -> str:
    """AWS's code, the same in all its protocols; the status where the server has a fault; or ""."""
    if not isinstance(error, b.ClientError):
        return ""
    code = str(error.response.get("Error", {}).get("Code", "")).rpartition(".")[2]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(status) if status >= 500 and code not in BY_CODE else code


def _describe(error: BaseException) -> tuple[str, str]:
    if isinstance(error, b.ClientError):
        return f"{code_of(error)}: {error.response.get('Error', {}).get('Message', '')}", code_of(error)
    return certificate_problem(error) or str(error) or "no answer in time", ""


ERRORS = ErrorTable("AWS", BY_TYPE, (b.BotoCoreError,), BY_CODE, REMEDIES, _describe)
