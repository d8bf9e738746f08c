"""The table of contents: what happens, in order."""

import os
from pathlib import Path


def use_prefect_home(folder: Path) -> None:
    """Have Prefect keep its files in a folder, unless the environment names another.

    To be called before Prefect is imported.

    Prefect 3.7 looks for the file `memo_store.toml` in `~/.prefect` even if PREFECT_HOME names another folder, and its
    server warns at each start if `~/.prefect` does not exist. So the file is named along with the folder.
    """
    home = os.environ.setdefault("PREFECT_HOME", str(folder))
    os.environ.setdefault("PREFECT_SERVER_MEMO_STORE_PATH", str(Path(home).expanduser() / "memo_store.toml"))


# Prefect reads its settings when it is first imported. Its server's analytics compete with runs for the SQLite file;
# and a temporary server on a busy machine needs more than the 20 s it is given.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
if "PREFECT_HOME" in os.environ:
    use_prefect_home(Path(os.environ["PREFECT_HOME"]))
