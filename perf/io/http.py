"""HTTP without I/O, for all alike: the least that answers ``GET /``, by h11."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import unquote, urlsplit

import h11

TEXT = b"rtsync\n"


class Conversation:
    """One connection: bytes in, bytes out."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.SERVER)

    def received(self, data: bytes) -> bytes:
        """What is to be sent in answer to ``data``."""
        http = self._http
        http.receive_data(data)
        answers = []
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                break
            if isinstance(event, h11.Request):
                path = unquote(urlsplit(event.target.decode("ascii")).path)
            elif isinstance(event, h11.EndOfMessage):
                answers.append(self._answer(path))
                http.start_next_cycle()
        return b"".join(answers)

    def _answer(self, path: str) -> bytes:
        status = 200 if path == "/" else 404
        headers = [("content-length", str(len(TEXT))), ("content-type", "text/plain")]
        head = h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase)
        parts = [self._http.send(part) or b"" for part in (head, h11.Data(TEXT), h11.EndOfMessage())]
        return b"".join(parts)
