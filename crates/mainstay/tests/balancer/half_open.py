"""Two clients of half_open.sh: `flood` begins connections from addresses that are not there, `ask N` asks honestly."""

import socket
import struct
import sys
import time

BALANCER = ("10.1.0.1", 6443)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def begin(number):
    """An IPv4 packet that begins connection `number`, from an address and a port of its own."""
    source = struct.pack("!BBH", 10, 77, 1 + number % 65_000)
    destination = socket.inet_aton(BALANCER[0])
    port = 1_024 + number // 65_000
    head = struct.pack("!HHIIBBHHH", port, BALANCER[1], number, 0, 5 << 4, 2, 65_535, 0, 0)
    pseudo = source + destination + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(head))
    head = head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(head), 0, 0, 64, 6, 0, source, destination) + head


def flood():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        number = 0
        while True:
            raw.sendto(begin(number), BALANCER)
            number += 1


def ask(count):
    answered, slowest = 0, 0
    for _ in range(count):
        began = time.monotonic()
        try:
            with socket.create_connection(BALANCER, timeout=5) as client:
                client.settimeout(5)
                answered += client.makefile("rb").read() == b"hello\n"
        except OSError as error:
            print(f"not answered: {error}", file=sys.stderr)
        slowest = max(slowest, time.monotonic() - began)
    print(f"answered={answered}\nslowest_ms={slowest * 1000:.0f}")


if sys.argv[1] == "flood":
    flood()
else:
    ask(int(sys.argv[2]))
