"""The console's files, at `/` and below `/console`: static, of this origin only, inside no other page."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER = Path(__file__).resolve().parent.parent / "console"

# Scripts and styles are files of this origin; nothing is asked of another; and no text ever becomes markup.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",  # pages and modules of two builds must not be mixed
}


def console_routes() -> list[Route | Mount]:
    """The page, and the files that it names."""
    return [Route("/", _page, methods=["GET"]), Mount("/console", _with_headers(StaticFiles(directory=FOLDER)))]


async def _page(_request: object) -> Response:
    return FileResponse(FOLDER / "index.html", headers=HEADERS)


def _with_headers(files: ASGIApp) -> ASGIApp:
    rows = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *rows]
            await send(message)

        await files(scope, receive, send_with_headers)

    return serve
