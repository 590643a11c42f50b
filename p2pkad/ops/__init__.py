"""What operators see of a node: its metrics, its health over HTTP, its log. Nothing here runs unless it is asked for.

`from p2pkad.ops.metrics import Metrics`, `from p2pkad.ops.http import serve_http`, `from p2pkad.ops.logs import EventLog`:
each module brings its own libraries, so that a log does not load a web server.
"""
