#!/usr/bin/env python3
"""Sends each line of its input to a ROUTER channel until the channel has acknowledged it.

    printf '%s\n' one two three | python3 examples/zeromq_peer.py tcp://127.0.0.1:5701

Give it the address of every member: only the connector server has bound its own. What this
program was answered, it prints: `acked ID` or `refused ID REASON`, a line each. It needs
pyzmq (Debian: python3-zmq).
"""

import sys
import time
import uuid

import zmq


class Peer:
    """A DEALER that keeps what was not acknowledged, and sends it again.

    A message can be handled twice: it was, and the answer was lost. It then has the same id
    (`Quorate-Message-Id`), which is for the service to compare.
    """

    def __init__(self, addresses, patience=2.0):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        # Nothing is queued for a member that isn't there, nor for one that hangs.
        self.socket.immediate = 1
        self.socket.heartbeat_ivl = 500
        self.socket.heartbeat_timeout = 2000
        # The name under which it is known, also after it has connected again.
        self.socket.routing_id = uuid.uuid4().bytes
        for address in addresses:
            self.socket.connect(address)
        # Longer than the service takes, or messages are sent twice for nothing.
        self.patience = patience
        self.unanswered = {}  # id -> [body, when to send it again]

    def send(self, body):
        ident = uuid.uuid4().hex.encode()
        self.unanswered[ident] = [body, 0.0]
        return ident

    def work(self, seconds=0.05):
        """Sends what is due; returns the answers as (id, refused, reason)."""
        now, answers = time.monotonic(), []
        for ident, message in self.unanswered.items():
            if message[1] <= now:
                try:
                    self.socket.send_multipart([ident, message[0]], zmq.DONTWAIT)
                except zmq.Again:
                    break  # no member is there, or none takes more: later
                message[1] = now + self.patience
        if self.socket.poll(seconds * 1000):
            while self.socket.poll(0):
                ident, word, *reason = self.socket.recv_multipart()
                if self.unanswered.pop(ident, None):
                    answers.append((ident, word == b"NACK", b"".join(reason)))
        return answers


def main():
    peer = Peer(sys.argv[1:] or sys.exit(__doc__))
    for line in sys.stdin.buffer:
        peer.send(line.rstrip(b"\n"))
    while peer.unanswered:
        for ident, refused, reason in peer.work():
            said = f"refused {ident.decode()} {reason.decode()}" if refused else f"acked {ident.decode()}"
            print(said, flush=True)


if __name__ == "__main__":
    main()
