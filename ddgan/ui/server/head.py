"""Puts markup into the head of the page's HTML. Gradio's `head` comes with its scripts, seconds later on a phone."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Headed"]


class Headed:
    """ASGI: every HTML answer of `app`, but one that is encoded already, with `markup` first in its head."""

    def __init__(self, app: ASGIApp, markup: str) -> None:
        self.app, self.markup = app, markup.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message | None = None
        parts: list[bytes] = []

        async def sent(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                if b"content-encoding" in headers or not headers.get(b"content-type", b"").startswith(b"text/html"):
                    return await send(message)
                start = message
            elif start is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if message.get("more_body"):
                    return
                body = b"".join(parts).replace(b"<head>", b"<head>" + self.markup, 1)
                headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
                length = [] if scope["method"] == "HEAD" else [(b"content-length", str(len(body)).encode())]
                await send({**start, "headers": headers + length})
                await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, sent)
