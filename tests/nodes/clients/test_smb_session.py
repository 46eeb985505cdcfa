"""What an SMB session keeps in a file, and what it asks for, without a server."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from impacket import smb3structs

from nodes.clients.durable_handle import durable_reconnect, durable_request
from nodes.clients.lock_session import Stored
from nodes.clients.smb_library import LockElement, Smb
from nodes.clients.smb_session import RECORD, Memory, records


def written(*numbers: int) -> bytes:
    return b"".join(RECORD.pack(number, number) for number in numbers)


@given(st.integers(0, 50))
def test_records_in_their_order_are_whole(count: int) -> None:
    assert records(written(*range(1, count + 1))) == Stored(count, whole=True)


@given(st.integers(1, 20), st.data())
def test_any_other_octet_is_noticed(count: int, data: st.DataObject) -> None:
    octets = bytearray(written(*range(1, count + 1)))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    assert records(bytes(octets)) == Stored(count, whole=False)


@given(st.integers(1, 20), st.integers(1, RECORD.size - 1))
def test_a_part_of_a_record_is_noticed(count: int, rest: int) -> None:
    octets = written(*range(1, count + 1))
    assert not records(octets + bytes(rest)).whole
    assert not records(octets[:-rest]).whole


def test_a_record_left_out_or_twice_is_noticed() -> None:
    assert not records(written(1, 3)).whole
    assert not records(written(1, 1)).whole
    assert records(written(1, 3)).last == 2


def test_impacket_gets_the_octets_of_a_lock_as_it_asks_for_them() -> None:
    """``lock`` of impacket 0.10 joins ``str(element)``; octets above 127 must survive."""
    element = LockElement()
    element["Offset"], element["Length"], element["Flags"] = 0xFF80, 1, 0x12
    request = smb3structs.SMB2Lock()
    request["FileID"] = bytes(16)
    request["LockCount"] = 1
    request["Locks"] = "".join(str(one) for one in [element])
    assert request.getData().endswith(struct.pack("<QQLL", 0xFF80, 1, 0x12, 0))


class _Wire:
    """A transport that answers with what it is given, header after header."""

    def __init__(self, *answers: tuple[int, int]) -> None:
        """``answers``: the status and the number of each."""
        self.sent: list[bytes] = []
        self._answers = list(answers)

    def send_packet(self, packet: bytes) -> None:
        self.sent.append(packet)

    def recv_packet(self, _timeout: float) -> _Wire:
        return self

    def get_trailer(self) -> bytes:
        return struct.pack("<8xL12xQ32x", *self._answers.pop(0))


def _session(wire: _Wire) -> Smb:
    session = Smb.__new__(Smb)
    session._NetBIOSSession = wire
    session._Connection = {"SequenceWindow": 41}
    session._Session = {"SessionID": 7}
    session.SMB_PACKET = smb3structs.SMB3Packet
    return session


def test_a_repeated_request_has_a_new_number_each_time() -> None:
    wire = _Wire((0, 41), (0, 42))
    session = _session(wire)
    request = session.read_request(3, bytes(16), 5)
    assert [session.repeat(request) for _ in range(2)] == [0, 0]
    numbers = [smb3structs.SMB3Packet(sent)["MessageID"] for sent in wire.sent]
    assert numbers == [41, 42]
    packet = smb3structs.SMB3Packet(wire.sent[0])
    assert packet["Command"] == smb3structs.SMB2_READ
    assert (packet["TreeID"], packet["SessionID"]) == (3, 7)
    read = smb3structs.SMB2Read(packet["Data"])
    assert (read["Offset"], read["Length"]) == (5, 1)


def test_an_answer_that_is_pending_is_waited_for() -> None:
    pending, closed = 0x103, 0xC0000128
    wire = _Wire((pending, 41), (pending, 41), (closed, 41))
    session = _session(wire)
    assert session.repeat(session.read_request(3, bytes(16), 5)) == closed
    assert len(wire.sent) == 1


def test_what_is_no_answer_is_not_taken_for_one() -> None:
    """The break of an oplock has number 2^64 - 1 (MS-SMB2 2.2.23.1)."""
    wire = _Wire((0, 2**64 - 1), (0xC0000128, 41))
    session = _session(wire)
    assert session.repeat(session.read_request(3, bytes(16), 5)) == 0xC0000128


def test_each_connection_is_a_client_of_its_own_name() -> None:
    first, second = Memory(), Memory()
    assert len(first.guid) == len(second.guid) == 16
    assert first.guid != second.guid
    assert first.session == 0, "the first session takes the place of none"


def test_a_durable_handle_is_asked_for_and_claimed_by_its_name() -> None:
    """MS-SMB2 2.2.13.2: each context names itself, and says where its data is."""
    guid, file = bytes(range(16)), bytes(range(16, 32))
    for context, name, data in (
        (durable_request(guid), b"DH2Q", bytes(16) + guid),
        (durable_reconnect(guid, file), b"DH2C", file + guid + bytes(4)),
    ):
        octets = context.getData()
        following, at, length, reserved, where, size = struct.unpack_from(
            "<LHHHHL", octets
        )
        assert (following, reserved) == (0, 0)
        assert octets[at : at + length] == name
        assert where % 8 == 0
        assert octets[where : where + size] == data
        assert len(octets) == where + size
