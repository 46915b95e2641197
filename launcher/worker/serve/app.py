"""The HTTP side: what may be asked, by whom, how much at once, and what each wrong request is answered."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from launcher import __version__
from launcher.worker.serve import Settings, page
from launcher.worker.serve.batcher import Batcher, Full, Refused
from launcher.worker.serve.predictor import Arrays, Input, Predictor
from launcher.worker.serve.request import Unfit, read


class _Answer(Exception):
    """Ends a request early."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def make(predictor: Predictor, settings: Settings) -> FastAPI:
    """The application; it starts with a first prediction, and keeps what that raised in `state.failure`."""
    batcher = Batcher(predictor, settings)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        try:
            await batcher.start()
        except Exception as error:
            app.state.failure = error
            raise
        yield
        await batcher.stop()

    title = f"launcher serve {predictor.about}"
    app = FastAPI(title=title, version=__version__, lifespan=life, docs_url=None, redoc_url=None)
    app.state.failure = None

    @app.post("/predict", openapi_extra=_described(predictor, settings), responses=_RESPONSES)
    async def predict(request: Request) -> Response:
        """Compute the model's outputs for one or more samples."""
        try:
            _check_token(request, settings)
            arrays = read(await _body(request, settings), predictor, settings.max_batch)
            answer: Response = JSONResponse({"outputs": _listed(await batcher.predict(arrays))})
        except _Answer as error:
            answer = JSONResponse({"detail": str(error)}, error.status)
        except (Unfit, Refused) as error:
            answer = JSONResponse({"detail": str(error)}, 422)
        except Full:
            sentence = f"more than {settings.queue} samples would wait; try again"
            answer = JSONResponse({"detail": sentence}, 503, {"Retry-After": "1"})
        batcher.counts.requests[answer.status_code] = batcher.counts.requests.get(answer.status_code, 0) + 1
        return answer

    @app.get("/health", responses={503: {"description": "not ready"}})
    async def health() -> Response:
        """Whether the model has made its first prediction."""
        return JSONResponse({"ready": batcher.ready}, 200 if batcher.ready else 503)

    @app.get("/metrics", response_class=PlainTextResponse, responses={401: {"description": "no or a wrong token"}})
    async def metrics(request: Request) -> Response:
        """Counts for Prometheus."""
        try:
            _check_token(request, settings)
        except _Answer as error:
            return JSONResponse({"detail": str(error)}, error.status)
        return PlainTextResponse(_figures(batcher), media_type="text/plain; version=0.0.4")

    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def docs() -> str:
        return page.written(app.openapi())

    return app


_RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {"description": "no or a wrong token"},
    408: {"description": "the body came too slowly"},
    413: {"description": "the body is too large"},
    415: {"description": "the body is not application/json"},
    422: {"description": "the samples cannot be computed"},
    503: {"description": "too many samples wait"},
}


def _check_token(request: Request, settings: Settings) -> None:
    sent = request.headers.get("authorization", "")
    if settings.token is not None and not hmac.compare_digest(sent.encode(), f"Bearer {settings.token}".encode()):
        raise _Answer(401, "a token is needed: Authorization: Bearer …")


async def _body(request: Request, settings: Settings) -> bytes:
    """At most so many bytes, within so many seconds."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise _Answer(415, "the body must be application/json")
    too_large = f"the body is larger than {settings.max_body:,} bytes"
    if int(request.headers.get("content-length", "0")) > settings.max_body:
        raise _Answer(413, too_large)
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_timeout):
            async for part in request.stream():
                body += part
                if len(body) > settings.max_body:
                    raise _Answer(413, too_large)
    except TimeoutError:
        raise _Answer(408, f"the body did not come within {settings.body_timeout:g} s") from None
    return bytes(body)


def _listed(outputs: Arrays) -> list[Any]:
    """For JSON, which has no word for what is not finite: null stands for it."""
    return [output.tolist() if _finite(output) else _nulled(output.tolist()) for output in outputs]


def _finite(output: np.ndarray[Any, Any]) -> bool:
    return output.dtype.kind not in "fc" or bool(np.isfinite(output).all())


def _nulled(value: Any) -> Any:
    if isinstance(value, list):
        return [_nulled(each) for each in value]
    return value if math.isfinite(value) else None


def _figures(batcher: Batcher) -> str:
    counts = batcher.counts
    lines = [f'launcher_serve_requests_total{{status="{status}"}} {n}' for status, n in sorted(counts.requests.items())]
    lines += [
        f"launcher_serve_samples_total {counts.samples}",
        f"launcher_serve_batches_total {counts.batches}",
        f"launcher_serve_compute_seconds_total {counts.seconds:.6f}",
        f"launcher_serve_waiting_samples {batcher.waiting}",
        f"launcher_serve_ready {int(batcher.ready)}",
    ]
    return "\n".join(lines) + "\n"


def _described(predictor: Predictor, settings: Settings) -> dict[str, Any]:
    """The body for the OpenAPI page."""
    arrays = {each.name: _samples(each, settings.max_batch) for each in predictor.inputs}
    by_name = {"type": "object", "properties": arrays, "required": list(arrays), "additionalProperties": False}
    inputs = {"anyOf": [*arrays.values(), by_name]} if len(arrays) == 1 else by_name
    schema = {"type": "object", "properties": {"inputs": inputs}, "required": ["inputs"], "additionalProperties": False}
    example = {"inputs": json.loads(json.dumps(predictor.inputs[0].example(1).tolist()))} if len(arrays) == 1 else None
    content: dict[str, Any] = {"schema": schema} | ({"example": example} if example else {})
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def _samples(wanted: Input, most: int) -> dict[str, Any]:
    schema = _number(np.dtype(wanted.dtype))
    for size in reversed(wanted.shape):
        bounds = {"minItems": 1} if size is None else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **bounds}
    return {"type": "array", "items": schema, "minItems": 1, "maxItems": most}


def _number(dtype: np.dtype[Any]) -> dict[str, Any]:
    if dtype.kind == "b":
        return {"type": "boolean"}
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        return {"type": "number", "minimum": -largest, "maximum": largest}
    return {"type": "integer", "minimum": int(np.iinfo(dtype).min), "maximum": int(np.iinfo(dtype).max)}
