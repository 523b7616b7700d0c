"""MLflow's server, whose bare address leads to the comparison: `mlflow server --app-name gan-study` runs this."""

import os
from typing import Any

from mlflow.server.fastapi_app import app as served

LANDING = "GAN_UI_LANDING"  # variable: the address of the comparison, from /


class App:
    """ASGI. Only ``/`` without a query leads on: the page itself is at ``/?study``, as a browser sends no fragment."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        landing = os.environ.get(LANDING)
        if not (landing and scope["type"] == "http" and scope["path"] == "/" and not scope.get("query_string")):
            await served(scope, receive, send)
            return
        headers = [(b"location", f"/?study{landing.removeprefix('/')}".encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 302, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


app = App()  # no function, which MLflow would take for a factory
