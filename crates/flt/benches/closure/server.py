# Serves a binary cache on loopback and counts what it sends: `server.py FOLDER` prints its port, `GET /sent` tells the bytes.
#
# More able than `python3 -m http.server`, which would have Nix wait: connections stay open, small answers are not held
# back, and as many can connect at once as Nix likes to.
import http.server
import sys
import threading

lock = threading.Lock()
sent = 0


class Counted:
    def __init__(self, inner):
        self.inner = inner

    def write(self, data):
        global sent
        with lock:
            sent += len(data)
        return self.inner.write(data)

    def __getattr__(self, name):
        return getattr(self.inner, name)


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, *args):
        super().__init__(*args, directory=sys.argv[1])

    def setup(self):
        super().setup()
        self.wfile = Counted(self.wfile)

    def do_GET(self):
        if self.path != "/sent":
            return super().do_GET()
        with lock:
            body = str(sent).encode()
        self.wfile.inner.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
