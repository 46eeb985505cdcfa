"""impacket's SMB 3.0 session, and what a client needs that impacket lacks.

impacket cannot be told a source port. So it gets a connected socket, and the answer to a
first NEGOTIATE on it, which it takes for that of a connection of its own.
"""

from __future__ import annotations

import socket
import struct

from impacket import nmb, nt_errors, smb3, smb3structs

from nodes.servers.smb_server import PASSWORD, USER

#: smbd takes longer for none of the requests here. impacket has no way to wait for ever.
ANSWER_S = 3600
#: In the header of SMB2 (MS-SMB2 2.2.1.2): an answer's status, a request's number.
_STATUS, _STATUS_AT = struct.Struct("<L"), 8
_NUMBER, _NUMBER_AT = struct.Struct("<Q"), 24


class LockElement(smb3structs.SMB2_LOCK_ELEMENT):  # type: ignore[misc]
    """An element of SMB2 LOCK. impacket 0.10 joins them by ``str``, not by octets."""

    def __str__(self) -> str:
        return str(self.getData().decode("latin-1"))


class Smb(smb3.SMB3):  # type: ignore[misc]
    """impacket's session, and one request that costs little each time it is repeated.

    To build a request and to parse its answer takes impacket half a millisecond, which is
    too much for what a client does most of the time.
    """

    #: The session that this one takes the place of.
    previous = 0

    def sendSMB(self, packet: smb3structs.SMB2Packet) -> int:  # noqa: N802
        """Send a packet; a SESSION_SETUP with the previous session, which impacket has
        no argument for."""
        if packet["Command"] == smb3structs.SMB2_SESSION_SETUP:
            packet["Data"]["PreviousSessionId"] = self.previous
        return int(super().sendSMB(packet))

    @property
    def session(self) -> int:
        """The session's number, which the server chose."""
        return int(self._Session["SessionID"])

    def read_request(self, tree: int, file: bytes, offset: int) -> bytearray:
        """A READ of one byte there, to be repeated with :meth:`repeat`."""
        read = smb3structs.SMB2Read()
        read["Padding"], read["FileID"] = 0x50, file
        read["Offset"], read["Length"] = offset, 1
        packet = self.SMB_PACKET()
        packet["Command"], packet["Data"] = smb3structs.SMB2_READ, read
        packet["TreeID"], packet["SessionID"] = tree, self.session
        packet["CreditCharge"] = packet["CreditRequestResponse"] = 1
        return bytearray(packet.getData())

    def repeat(self, request: bytearray) -> int:
        """The status of the answer to that request."""
        number = self._Connection["SequenceWindow"]
        self._Connection["SequenceWindow"] += 1
        _NUMBER.pack_into(request, _NUMBER_AT, number)
        self._NetBIOSSession.send_packet(bytes(request))
        while True:
            answer = self._NetBIOSSession.recv_packet(ANSWER_S).get_trailer()
            status = int(_STATUS.unpack_from(answer, _STATUS_AT)[0])
            ours = number == _NUMBER.unpack_from(answer, _NUMBER_AT)[0]
            # Others are of an oplock that is broken: its client does not answer.
            if ours and status != nt_errors.STATUS_PENDING:
                return status


def log_in(sock: socket.socket, target: str, guid: bytes, previous: int) -> Smb:
    """A session on a connected socket, of the client ``guid``.

    ``previous``: the session whose place it takes, 0 for none. Raises impacket's errors.
    """
    transport = nmb.NetBIOSTCPSession("", target, target, sess_port=0, sock=sock)
    answer = _negotiate(transport, guid)
    smb = Smb(
        target, target, timeout=ANSWER_S, session=transport, negSessionResponse=answer
    )
    smb.previous = previous
    smb.login(USER, PASSWORD)
    return smb


def _negotiate(transport: nmb.NetBIOSTCPSession, guid: bytes) -> smb3structs.SMB2Packet:
    """The answer to a NEGOTIATE of SMB 3.0, the first packet of a connection."""
    request = smb3structs.SMB2Negotiate()
    request["SecurityMode"] = smb3structs.SMB2_NEGOTIATE_SIGNING_ENABLED
    request["ClientGuid"] = guid
    request["DialectCount"] = 1
    request["Dialects"] = [smb3structs.SMB2_DIALECT_30]
    packet = smb3structs.SMB2Packet()
    packet["Command"], packet["Data"] = smb3structs.SMB2_NEGOTIATE, request
    transport.send_packet(packet.getData())
    answer = smb3structs.SMB2Packet(transport.recv_packet(ANSWER_S).get_trailer())
    answer.isValidAnswer(nt_errors.STATUS_SUCCESS)
    return answer
