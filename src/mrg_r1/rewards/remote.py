"""The reward of a server that `mrg-r1 serve-reward` runs, called over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from mrg_r1.errors import DataError
from mrg_r1.rewards import Completion, check_lengths, texts_of


@dataclass(frozen=True)
class RemoteReward:
    """Rewards from a server, which waits its turn where the server is busy.

    Attributes:
        url: where the server listens, such as 'http://127.0.0.1:8765'.
        timeout: seconds to wait for one answer, and in all for a busy server.
    """

    url: str
    timeout: float = 60.0

    def components(
        self, completions: Sequence[Completion], reference: Sequence[str]
    ) -> list[dict[str, float]]:
        """The total as 'reward', and each unweighted component by its name, per completion.

        Raises:
            DataError: the server cannot be reached, stays busy, or refuses the data.
        """
        check_lengths(completions, reference)
        body = json.dumps({"completions": texts_of(completions), "references": list(reference)})
        request = Request(
            f"{self.url.rstrip('/')}/rewards",
            body.encode("utf-8"),
            {"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                with urlopen(request, timeout=self.timeout) as response:
                    return json.load(response)["rewards"]
            except HTTPError as error:
                pause = float(error.headers.get("Retry-After") or 1)
                if error.code != 429 or time.monotonic() + pause > deadline:
                    raise DataError(f"{self.url}: {error.code}, {_detail(error)}") from None
                time.sleep(pause)
            except (URLError, TimeoutError) as error:
                raise DataError(
                    f"{self.url}: no answer ({error}); type 'mrg-r1 serve-reward' to start one"
                ) from None


def _detail(error: HTTPError) -> str:
    return error.read(2_000).decode("utf-8", "replace")
