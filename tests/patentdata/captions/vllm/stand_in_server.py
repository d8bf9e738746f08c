"""Stand-in for vLLM in tests about starting and stopping a server, not about what it answers.

    python stand_in_server.py PORT MODE

It is healthy at once, and starts a child in another session that ignores SIGTERM: the worst case for whoever has to
stop it. MODE: "healthy"; "broken" exits at once with the reason somewhere in its log; "deaf" never answers.
"""

import http.server
import signal
import subprocess
import sys
import time

_CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"

_BROKEN = """\
(APIServer pid=7) INFO 11-21 14:58:34 [utils.py:1] starting
(EngineCore pid=8) ERROR 11-21 14:58:40 [core.py:725] Traceback (most recent call last):
(EngineCore pid=8) ERROR 11-21 14:58:40 [core.py:725] OSError: magic/model is not a local folder
(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above.
"""


class _Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    port, mode = int(sys.argv[1]), sys.argv[2]
    if mode == "broken":
        sys.exit(_BROKEN)
    subprocess.Popen([sys.executable, "-c", _CHILD], start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if mode == "deaf":
        time.sleep(600)
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), _Healthy) as server:
        server.serve_forever()
