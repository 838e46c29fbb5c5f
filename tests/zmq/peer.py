"""A plain libzmq program for the tests: peer.py ROLE METHOD ADDRESS [COUNT].

The senders send bodies 0 to COUNT - 1; the receivers answer as the documentation has it.
What came is printed, a line each.
"""

import pathlib
import sys

import zmq

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples"))
from zeromq_peer import Peer  # noqa: E402

KINDS = {
    "push": zmq.PUSH, "pub": zmq.PUB, "req": zmq.REQ,
    "pull": zmq.PULL, "sub": zmq.SUB, "rep": zmq.REP, "router": zmq.ROUTER,
}


def say(*words):
    print(*words, flush=True)


def main(role, method, address, count=0):
    bodies = [str(n).encode() for n in range(int(count))]
    if role == "dealer":
        return deal(address, bodies)
    socket = zmq.Context.instance().socket(KINDS[role])
    socket.linger = 10_000
    # A member whose process was killed is another one after it.
    socket.immediate = 1
    if role == "sub":
        socket.subscribe(b"orders")
    getattr(socket, method)(address)
    say("ready")
    if role == "push":
        for body in bodies:
            socket.send(body)
        say("sent", len(bodies))
    elif role == "pub":
        # There is no telling when somebody has subscribed.
        while True:
            for body in bodies:
                socket.send_multipart([b"orders.eu", body])
            socket.poll(20)
    elif role == "req":
        for body in bodies:
            socket.send(body)
            say("answer", socket.recv().decode())
    else:
        receive(role, socket)


def deal(address, bodies):
    peer = Peer(address.split(","))
    for body in bodies:
        peer.send(body)
    say("ready")
    while peer.unanswered:
        for ident, refused, reason in peer.work():
            say("refused" if refused else "acked", ident.decode(), reason.decode())
    say("done")


def receive(role, socket):
    while True:
        frames = socket.recv_multipart()
        say("got", *(frame.decode() for frame in frames[-2:]))
        if role == "rep":
            socket.send(b"re: " + frames[-1])
        elif role == "router":
            refused = frames[-1] == b"bad"
            socket.send_multipart(frames[:-1] + ([b"NACK", b"too bad"] if refused else [b"ACK"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
