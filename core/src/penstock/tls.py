"""For connectors whose client takes an `ssl.SSLContext`: the option `tls`, its check, its errors.

class AcmeOptions(ConnectorOptions):
    tls: bool | TlsOptions = False

def check(name, options, role):
    return tls_problems(options.tls)

await acme.connect(host, port, ssl=tls_context(options.tls))     # None: without TLS

except acme.Error as error:
    text = certificate_problem(error) or str(error)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from penstock.options import ConnectorOptions, OptionProblem

if TYPE_CHECKING:
    from ssl import SSLContext

_EXPIRED = 10  # OpenSSL's numbers of reasons
_OTHER_NAMES = (62, 64)


class TlsOptions(ConnectorOptions):
    """How to trust the server, and what we show.

    Attributes:
        ca: File of the certificate authorities to trust; None: the system's.
        cert, key: Files of our own certificate and its key, not encrypted, for servers that ask.
        insecure_skip_verify: Accept any certificate. Then anyone who can reach the network can read and forge messages.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    insecure_skip_verify: bool = False


def tls_problems(tls: bool | TlsOptions) -> list[OptionProblem]:
    """What is wrong with the option `tls`, one sentence a problem."""
    if not isinstance(tls, TlsOptions):
        return []
    problems = [
        OptionProblem(f"tls.{key}: the file {path!r} cannot be read", "tls", key)
        for key, path in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key))
        if path is not None and not os.access(path, os.R_OK)
    ]
    if tls.key and not tls.cert:
        problems.append(OptionProblem("tls.key is set without tls.cert, which it belongs to", "tls", "key"))
    return problems


def tls_context(tls: bool | TlsOptions) -> SSLContext | None:
    """What the client library needs; None if there is no TLS.

    Raises:
        OSError: a file cannot be read, or is not a certificate or key (`ssl.SSLError`).
    """
    import ssl

    if not tls:
        return None
    options = tls if isinstance(tls, TlsOptions) else TlsOptions()
    context = ssl.create_default_context(cafile=options.ca)
    if options.cert is not None:
        context.load_cert_chain(options.cert, options.key)
    if options.insecure_skip_verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def certificate_problem(error: BaseException | None) -> str | None:
    """What is wrong with the server's certificate, and the option to look at.

    Args:
        error: What the client raised; its causes are searched.

    Returns:
        None if the error is not about a certificate.
    """
    import ssl

    # Some clients derive an error of theirs from it, which lacks the code; its cause has that.
    while error is not None and not (isinstance(error, ssl.SSLCertVerificationError) and hasattr(error, "verify_code")):
        error = error.__cause__ or error.__context__
    if error is None:
        return None
    if error.verify_code == _EXPIRED:
        return "the server's certificate has expired; it must be renewed"
    if error.verify_code in _OTHER_NAMES:
        return f"the server's certificate is for another name ({error.verify_message}); write that name as the host"
    return f"the server's certificate is not trusted ({error.verify_message}); name its authority's file in `tls.ca`"
