"""An HTTP server of the tests' own: it knows ranges, and misbehaves as it is told."""

import gzip
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GOOD = {}


class WebServer:
    """Serves `files`, a dict of bytes by path, and notes in `asked` the Range of every request (None without one).

    Each request takes the next of `acts`, or `always` once they are used up: a dict of `status` (answer that instead),
    `cut` (close the connection after as many bytes of the body), `longer` (claim so many bytes more than there are),
    `length` False (tell no size), `ranges` False (send the whole file), `validators` False (neither ETag nor date),
    `shift` (begin so many bytes after the one asked for).
    """

    def __init__(self, files):
        self.files, self.acts, self.always, self.asked, self.version = files, [], GOOD, [], 1
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"world": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def url(self, name):
        return f"http://127.0.0.1:{self._server.server_port}/{name}"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def web_server(files):
    server = WebServer(files)
    try:
        yield server
    finally:
        server.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world = None

    def do_GET(self):
        world, wanted = self.world, self.headers.get("Range")
        world.asked.append(wanted)
        act = world.acts.pop(0) if world.acts else world.always
        body = world.files.get(self.path.lstrip("/"))
        if body is None or "status" in act:
            self.send_response(act.get("status", 404))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        packed = "gzip" in self.headers.get("Accept-Encoding", "")
        body = gzip.compress(body) if packed else body
        total, begin = len(body) + act.get("longer", 0), 0
        if wanted and act.get("ranges", True):
            begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) + act.get("shift", 0)
            if begin >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if packed:
            self.send_header("Content-Encoding", "gzip")
        if act.get("validators", True):
            self.send_header("ETag", f'"{world.version}"')
        if act.get("length", True):
            self.send_header("Content-Length", str(total - begin))
        self.end_headers()
        self.wfile.write(body[begin:][: act.get("cut")])
        self.close_connection = "cut" in act or "longer" in act or not act.get("length", True)

    def log_message(self, *_):
        pass
