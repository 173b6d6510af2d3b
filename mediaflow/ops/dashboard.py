"""rq-dashboard on loopback, made harmless: checked jobs, no requests of other sites, no HTML from names."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
from collections.abc import Callable

from flask import Response, request
from rq.exceptions import NoSuchJobError

from mediaflow.errors import UnreachableError
from mediaflow.queues import shown  # before rq_dashboard: from here on RQ knows no pickle
from mediaflow.queues.connection import redis_url

# rq-dashboard's templates put descriptions and errors, and so names of files, into the page as HTML; `<%-` is
# underscore's mark for text. The one that is left alone escapes by itself.
_RAW = re.compile(r"<%=(?!\s*\$\('<div/>'\)\.text\()")


def serve_dashboard(port: int, on_ready: Callable[[str], None]) -> None:
    """Serve rq-dashboard on 127.0.0.1 until interrupted; `on_ready` is told the address once it listens.

    Raises UnreachableError, with the reason, when it cannot listen on the port.
    """
    from rq.serializers import JSONSerializer
    from rq_dashboard import web
    from rq_dashboard.cli import make_flask_app
    from werkzeug.serving import make_server

    web.config.serializer = JSONSerializer
    shown.install(web)
    app = make_flask_app(None, None, None, "")
    app.config["RQ_DASHBOARD_REDIS_URL"] = redis_url()
    web.setup_rq_connection(app)
    gone = Response("mediaflow: there is no such job any more.\n", 404)
    app.register_error_handler(NoSuchJobError, lambda _: gone)
    places = {f"127.0.0.1:{port}", f"localhost:{port}"}

    @app.before_request  # type: ignore[untyped-decorator]
    def only_from_here() -> Response | None:
        # A page of another site could otherwise press the buttons (retry, empty) in this browser.
        origin = request.headers.get("Origin")
        foreign = request.host not in places or (origin and origin.removeprefix("http://") not in places)
        # rq-dashboard requeues on GET too, which a picture's address on another site's page can ask for.
        if foreign or (request.method == "GET" and request.path.startswith("/requeue/")):
            return Response("mediaflow: this dashboard answers its own pages only.\n", 403)
        return None

    @app.after_request  # type: ignore[untyped-decorator]
    def escape(response: Response) -> Response:
        if response.mimetype == "text/html" and not response.direct_passthrough:
            response.set_data(_RAW.sub("<%-", response.get_data(as_text=True)))
        return response

    with _listening(port) as listener, contextlib.suppress(KeyboardInterrupt):
        server = make_server("127.0.0.1", port, app, threaded=True, fd=listener.fileno())
        on_ready(f"http://127.0.0.1:{port}")
        server.serve_forever()


def _listening(port: int) -> socket.socket:
    """A socket on 127.0.0.1 of our own: werkzeug ends the process where it cannot have one."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except PermissionError:
        why = f"Port {port} cannot be used: permission denied (ports below 1024 are for the system)."
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = f"Port {port} is taken." if taken else f"Port {port} cannot be used: {error.strerror}."
    raise UnreachableError(f"{why} Choose another: mediaflow dashboard --port N")
