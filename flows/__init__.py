"""The table of contents: what happens, in order."""

import os

# Prefect reads its settings when it is first imported. Its server's analytics compete with runs for the SQLite file.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
