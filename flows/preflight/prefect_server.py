"""Whether the Prefect server that a run would report to can be reached.

Prefect's client waits and tries again for minutes, in silence, if its server does not answer or if a proxy catches the
requests to the temporary server on this machine. Both show within seconds, so a run asks before it starts.
"""

from __future__ import annotations

import os
import re
import urllib.request

import requests

from patentdata.errors import ConfigError

START_ADVICE = "start it with prefect server start, or unset PREFECT_API_URL"
PROXY_ADVICE = "set NO_PROXY=127.0.0.1,localhost"
_ANSWER_S = 4.0  # longest wait for an answer
_LOOPBACK = "127.0.0.1"


def require_prefect_server() -> None:
    """Raise ConfigError if a run under Prefect could not reach its server, the named one or a temporary one."""
    url = prefect_url()
    if url is None:
        if proxy := proxy_of_loopback():
            raise ConfigError(f"the proxy {proxy} catches requests to the temporary Prefect server; {PROXY_ADVICE}")
        return
    try:
        answer = requests.get(f"{url.rstrip('/')}/health", timeout=_ANSWER_S)
        found = f"status {answer.status_code}" if answer.status_code >= 500 or answer.status_code == 407 else ""
    except requests.RequestException as error:
        found = type(error).__name__
    if found:
        raise ConfigError(f"no Prefect server answers at {without_password(url)} ({found}); {START_ADVICE}")


def prefect_url() -> str | None:
    """Address of the Prefect server that the environment or Prefect's own settings name; None for a temporary one."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value() or None


def proxy_of_loopback() -> str | None:
    """The proxy to which requests to this machine itself would go, without its password; None if they would not."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get("http") or proxies.get("all")
    if proxy is None or urllib.request.proxy_bypass(_LOOPBACK):
        return None
    return without_password(proxy)


def without_password(url: str) -> str:
    """An address without user and password."""
    return re.sub(r"//[^/@]*@", "//", url)
