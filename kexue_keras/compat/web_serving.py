"""bert4keras's `WebServing`, on FastAPI (the extra `web`)."""

from kexue_keras.experiments.local_server import local_app, serve_app


class WebServing:
    """Serves functions by GET or POST; the answer is `{"code": 0, "desc": ..., "data": ...}`.

    Args:
        host: address. The default is this computer alone, where bert4keras's was every address.
        port: its port.
        server: passed over; the server is uvicorn.
    """

    def __init__(self, host="127.0.0.1", port=8000, server=None):
        self.host, self.port = host, port
        self.routes = []

    def wraps(self, func, arguments, method="GET"):
        """A function of a dict of texts that checks and converts them by `arguments`.

        Args:
            func: what is served; its result can be written as JSON.
            arguments: name to `(conversion or None, whether it is required)`.
            method: "GET" or "POST".
        """

        def answer(received):
            missing = [k for k, (_, needed) in arguments.items() if needed and k not in received]
            if missing:
                return {"code": 1, "desc": f'lack of "{missing[0]}" argument', "data": {}}
            known = {k: v for k, v in received.items() if k in arguments}
            try:
                converted = {k: (arguments[k][0] or str)(v) for k, v in known.items()}
                return {"code": 0, "desc": "succeeded", "data": func(**converted)}
            except Exception as error:  # the server goes on, and the caller is told
                return {"code": 2, "desc": str(error), "data": {}}

        return answer

    def route(self, path, func, arguments, method="GET"):
        """Serves `func` under `path`."""
        self.routes.append((path, self.wraps(func, arguments, method), method))

    def app(self, hosts=("127.0.0.1", "localhost")):
        """The FastAPI application."""
        from starlette.requests import Request

        app = local_app("kexue_keras", hosts)
        for path, answer, method in self.routes:

            async def serve(request: Request, answer=answer, method=method):
                received = request.query_params if method == "GET" else await request.form()
                return answer(dict(received))

            app.router.add_route(path, _as_json(serve), methods=[method])
        return app

    def start(self):
        """Serves until Ctrl-C."""
        serve_app(self.app, self.host, self.port)


def _as_json(serve):
    from starlette.responses import JSONResponse

    async def endpoint(request):
        return JSONResponse(await serve(request))

    return endpoint
