"""A web server for this computer only, unless its user decides otherwise: FastAPI and uvicorn.

Both come with the extra `web`. No deep-learning framework is imported.
"""

import ipaddress
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def local_app(title: str, hosts: tuple[str, ...] = ("127.0.0.1", "localhost")) -> FastAPI:
    """An application without documentation pages that refuses malformed requests with status 422.

    Args:
        title: its name.
        hosts: names under which it answers, `("*",)` for any: other sites must not reach a server
            on this computer through a name of theirs.
    """
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    @app.exception_handler(RequestValidationError)
    def refuse(request, error):
        # without what was sent, which need not be writable as JSON (NaN, half a surrogate pair)
        detail = [{"loc": e["loc"], "msg": e["msg"]} for e in error.errors()]
        return JSONResponse({"detail": detail}, 422)

    return app


def page(path: Path) -> HTMLResponse:
    """A page that brings all it needs; its browser fetches nothing from elsewhere."""
    text = path.read_text(encoding="utf-8")
    return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY})


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this computer only.

    Example:

    >>> is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve_app(create_app, host: str, port: int) -> None:
    """Serves until Ctrl-C.

    Args:
        create_app: takes the `hosts` of `local_app`, returns the application.
        host: address; others than this computer reach one that is not a loopback.
        port: its port.
    """
    import uvicorn

    name = f"[{host}]" if ":" in host else host
    # the second spelling: a Host header of IPv6 is cut at its first colon by some versions
    hosts = ("127.0.0.1", "localhost", name, name.split(":")[0])
    app = create_app(hosts if is_loopback(host) else ("*",))
    print(f"open http://{name}:{port} in a browser; Ctrl-C ends", flush=True)
    uvicorn.run(app, host=host, port=port, log_level="warning")
