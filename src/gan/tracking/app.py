"""MLflow's server, whose bare address leads to the comparison: `mlflow server --app-name gan-study` runs this."""

import json
import os
from typing import Any

from mlflow.server.fastapi_app import app as served

LANDING = "GAN_UI_LANDING"  # variable: the address of the comparison, from /
# A server does not see what follows #, and a redirection would replace it: links to views must stay what they are.
PAGE = """<title>MLflow</title><script>location.replace("/?study" + (location.hash || LANDING))</script>"""


class App:
    """ASGI. ``/`` without a query leads on to ``/?study``, where MLflow's own page is, with its # or that of the
    comparison."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        landing = os.environ.get(LANDING)
        if not (landing and scope["type"] == "http" and scope["path"] == "/" and not scope.get("query_string")):
            await served(scope, receive, send)
            return
        text = json.dumps(landing.removeprefix("/")).replace("<", "\\u003c")
        body = PAGE.replace("LANDING", text).encode()
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


app = App()  # no function, which MLflow would take for a factory
