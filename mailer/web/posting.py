"""Post a notice to a webhook: signed, without following redirects, tried some times."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
import tenacity

from mailer import errors

TIMEOUT = aiohttp.ClientTimeout(total=8.0)  # seconds for one try
TRIES = 3  # more come later, as long as the alarm is open
WAIT = tenacity.wait_exponential_jitter(multiplier=0.5, max=4.0)
SAID = 200  # characters of an answer that are shown


class Refused(errors.Unavailable):
    """The receiver does not want this: asking again at once would change nothing."""


async def post(
    url: str,
    *,
    body: bytes,
    headers: Mapping[str, str],
    wait: tenacity.wait.wait_base = WAIT,
) -> None:
    """Post JSON to *url*; only 2xx means that it arrived.

    Raises Unavailable with what was answered, never with the signature.
    """
    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(TRIES),
        wait=wait,
        retry=tenacity.retry_if_exception(_is_passing),
        reraise=True,
    )
    async with aiohttp.ClientSession(timeout=TIMEOUT) as client:
        await retrying(_once, client, url, body, headers)


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, errors.Unavailable) and not isinstance(error, Refused)


async def _once(
    client: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]
) -> None:
    try:
        async with client.post(
            url,
            data=body,
            headers={"Content-Type": "application/json", **headers},
            allow_redirects=False,
        ) as answer:
            status = answer.status
            if 200 <= status < 300:
                return
            said = (await answer.content.read(SAID)).decode("utf-8", "replace")
    except TimeoutError as error:
        message = f"no answer within {TIMEOUT.total:.0f} s"
        raise errors.Unavailable(message) from error
    except aiohttp.ClientConnectorError as error:
        message = f"no connection: {error.os_error.strerror or error.os_error}"
        raise errors.Unavailable(message) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        message = str(error) or type(error).__name__
        raise errors.Unavailable(message) from error
    message = f"answered {status}: {' '.join(said.split())}".rstrip(": ")
    if 300 <= status < 400:
        message += " (redirects are not followed: write the final address)"
    if status >= 500 or status == 429:
        raise errors.Unavailable(message)
    raise Refused(message)
