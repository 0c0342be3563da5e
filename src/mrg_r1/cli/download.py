"""Fetches a file from an address that a person gave."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mrg_r1.errors import ConfigError, DataError
from mrg_r1.records import replacing

_PIECE = 2**20
_PATIENCE = 60.0
"""Seconds without a byte after which the other side is given up."""


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only where nobody on the way can change what comes."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str):
        _check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str = "",
    context: ssl.SSLContext | None = None,
    on_bytes: Callable[[int], object] = lambda n: None,
) -> str:
    """Writes what an address holds to `path`, whole or not at all; returns its SHA-256.

    Args:
        url: an https address, also of every redirection.
        path: the file, which must not be there yet.
        sha256: the digest it must have, in hexadecimal; '' for any.
        context: whom to trust; else whom the system trusts.
        on_bytes: told the number of bytes of each piece.

    Raises:
        ConfigError: the address is not https, or the file is there.
        DataError: it cannot be fetched, ended early, or has another digest.
    """
    _check(url)
    if path.exists():
        raise ConfigError(f"{path}: exists already; name another file")
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _OnlyHttps())
    digest = hashlib.sha256()
    try:
        with opener.open(url, timeout=_PATIENCE) as answer, replacing(path, "wb") as file:
            length = answer.headers.get("Content-Length")
            while piece := answer.read(_PIECE):
                file.write(piece)
                digest.update(piece)
                on_bytes(len(piece))
            if length is not None and file.tell() != int(length):
                raise DataError(f"{url}: ended after {file.tell():,} of {length} bytes; try again")
            if sha256 and digest.hexdigest() != sha256.lower():
                raise DataError(f"{url}: its sha256 is {digest.hexdigest()}, not {sha256.lower()}")
    except urllib.error.URLError as error:
        raise DataError(f"{url}: cannot be fetched ({error}); check the address") from None
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise DataError(f"{url}: the connection broke ({error}); try again") from None
    return digest.hexdigest()


def _check(url: str) -> None:
    if not url.startswith("https://"):
        raise ConfigError(f"{url}: not fetched; give an address that starts with https://")
