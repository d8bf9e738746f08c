"""The table of contents: what happens, in order."""

import os

# Prefect reads its settings when it is first imported. Its server's analytics compete with runs for the SQLite file;
# and a temporary server on a busy machine needs more than the 20 s it is given.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
