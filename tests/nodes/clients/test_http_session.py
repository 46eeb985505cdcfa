"""An HTTP session against a server of this test, over the loopback."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable

import pytest

from nodes.clients.client_report import ServerClosed
from nodes.clients.http_session import HttpSession

Story = Callable[[HttpSession], Awaitable[None]]
TIMEOUT_S = 10.0
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: int, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


class Server:
    """Gives its answers in turn, and keeps each request as it came.

    An answer may be in several pieces, each written once the client has read the one
    before it or whenever the kernel likes. Then it closes, by FIN or by reset.
    """

    def __init__(self, *answers: bytes, reset: bool = False) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self._answers = answers
        self._reset = reset

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for each in self._answers:
            self.requests.append(await self._read(reader))
            writer.write(each)
            await writer.drain()
        if self._reset:
            writer.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            writer.transport.abort()
        writer.close()

    @staticmethod
    async def _read(
        reader: asyncio.StreamReader,
    ) -> tuple[str, dict[str, str], bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return first, headers, body


def play(server: Server, story: Story, host: str = "127.0.0.1") -> None:
    """The story of one session with that server."""

    async def run() -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = await asyncio.start_server(server.serve, host, 0, family=family)
        port = listening.sockets[0].getsockname()[1]
        sock = socket.socket(family)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        session = HttpSession(sock, host)
        await session.handshake()
        try:
            await asyncio.wait_for(story(session), TIMEOUT_S)
        finally:
            session.close()
            listening.close()

    asyncio.run(run())


def test_blocks_are_objects_that_are_put_and_got() -> None:
    server = Server(answer(201), answer(200, b"what was written"))

    async def story(session: HttpSession) -> None:
        await session.write(8192, b"data")
        assert await session.read(8192, 16) == b"what was written"

    play(server, story)
    (put, put_headers, data), (get, get_headers, nothing) = server.requests
    assert (put, data) == ("PUT /blocks/8192 HTTP/1.1", b"data")
    assert (get, nothing) == ("GET /blocks/8192 HTTP/1.1", b"")
    assert put_headers["content-length"] == "4"
    assert "content-length" not in get_headers


@pytest.mark.parametrize(
    ("host", "named"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")]
)
def test_the_host_is_named_as_in_a_uri(host: str, named: str) -> None:
    server = Server(answer(404))

    async def story(session: HttpSession) -> None:
        assert await session.read(0, 1) == b"", "no such object is an empty one"

    play(server, story, host)
    assert server.requests[0][1]["host"] == named


@pytest.mark.parametrize("status", [200, 201, 204])
def test_any_success_acknowledges_a_write(status: int) -> None:
    given = NO_CONTENT if status == 204 else answer(status)

    async def story(session: HttpSession) -> None:
        await session.write(0, b"")

    play(Server(given), story)


@pytest.mark.parametrize("status", [301, 403, 404, 500, 507])
def test_what_is_no_success_is_an_error_and_the_session_goes_on(status: int) -> None:
    async def story(session: HttpSession) -> None:
        with pytest.raises(OSError, match=f"PUT: status {status}") as refused:
            await session.write(0, b"data")
        assert refused.value.errno == errno.EIO
        assert await session.read(0, 4) == b"data"

    play(Server(answer(status, b"sorry"), answer(200, b"data")), story)


def test_a_failed_read_is_not_an_empty_object() -> None:
    async def story(session: HttpSession) -> None:
        with pytest.raises(OSError, match="GET: status 500"):
            await session.read(0, 4)

    play(Server(answer(500)), story)


def test_requests_at_once_are_sent_one_after_the_other() -> None:
    answers = [answer(200, str(number).encode() * 30_000) for number in range(8)]

    async def story(session: HttpSession) -> None:
        reads = [session.read(offset, 1) for offset in range(8)]
        assert await asyncio.gather(*reads) == [
            str(number).encode() * 30_000 for number in range(8)
        ]

    server = Server(*answers)
    play(server, story)
    assert [first.split()[1] for first, _, _ in server.requests] == [
        f"/blocks/{offset}" for offset in range(8)
    ]


@pytest.mark.parametrize(
    ("reset", "error"), [(False, ServerClosed), (True, ConnectionResetError)]
)
def test_the_end_of_a_connection_is_reported_to_this_and_every_later_request(
    reset: bool, error: type[OSError]
) -> None:
    async def story(session: HttpSession) -> None:
        await session.write(0, b"data")
        assert isinstance(await asyncio.shield(session.closed), error)
        for _ in range(2):
            with pytest.raises(error):
                await session.write(0, b"data")

    play(Server(answer(201), reset=reset), story)


def test_a_server_that_ends_before_its_answer_is_whole_acknowledges_nothing() -> None:
    async def story(session: HttpSession) -> None:
        with pytest.raises(OSError, match="."):
            await session.read(0, 10)

    play(Server(answer(200, bytes(10))[:-1]), story)


def test_an_interim_answer_is_passed_over() -> None:
    """RFC 9110, 15.2: also one that is not expected, and comes with the final one."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

    async def story(session: HttpSession) -> None:
        assert await session.read(0, 4) == b"data"
        await session.write(0, b"more")

    play(Server(2 * interim + answer(200, b"data"), interim + answer(201)), story)


def test_what_is_not_http_is_an_error_of_the_protocol() -> None:
    async def story(session: HttpSession) -> None:
        with pytest.raises(OSError, match="not HTTP") as error:
            await session.read(0, 10)
        assert error.value.errno == errno.EPROTO

    play(Server(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), story)


def test_to_disconnect_lets_the_server_close_first() -> None:
    server = Server(NO_CONTENT)

    async def story(session: HttpSession) -> None:
        await session.disconnect()
        assert isinstance(session.closed.result(), ServerClosed)
        await session.disconnect()  # again: it raises nothing

    play(server, story)
    ((first, headers, _),) = server.requests
    assert first == "GET / HTTP/1.1"
    assert headers["connection"].lower() == "close"
