"""Derivation v1 and placement v1 in Python; redoes the tables beside it and names each row that differs."""

import csv
import pathlib
import sys
from base64 import b32encode

import hashlib, ipaddress

def derive(slug, attempt=0, pool="10.48.0.0/12", prefix=24):
    d = hashlib.sha256(slug.encode()).digest()
    start = int.from_bytes(d[0:8], "big")
    stride = int.from_bytes(d[8:16], "big") | 1
    pool = ipaddress.ip_network(pool)
    number = (start + attempt * stride) % 2**64 % 2 ** (prefix - pool.prefixlen)
    subnet = ipaddress.ip_network((int(pool[0]) + number * 2 ** (32 - prefix), prefix))
    return subnet, subnet[1], subnet[2]


def derive6(slug, attempt=0):
    d = hashlib.sha256(slug.encode()).digest()
    subnet_id = (int.from_bytes(d[21:23], "big") + attempt) % 2**16
    prefix = bytes([0xFD]) + d[16:21] + subnet_id.to_bytes(2, "big")
    subnet = ipaddress.ip_network((prefix + bytes(8), 64))
    return subnet, subnet[1], subnet[2]


def loopback(slug):
    d = hashlib.sha256(slug.encode()).digest()
    n = int.from_bytes(d[23:27], "big") % (255 * 65536)
    return ipaddress.ip_address("127.1.0.0") + n


def bridge_name(prefix, slug):
    digest = hashlib.sha256(f"{prefix}\0{slug}".encode()).digest()
    return "sb" + b32encode(digest).decode().lower()[:13]


def rank(slug, names):
    weight = lambda name: hashlib.sha256(f"{slug}\0{name}".encode()).digest()
    return sorted(names, key=weight, reverse=True)


def rows(name):
    with open(pathlib.Path(__file__).with_name(name), newline="") as table:
        return list(csv.DictReader(line for line in table if not line.startswith("#")))


def main():
    differing = []

    def compare(row, derived, *columns):
        if [str(it) for it in derived] != [row[column] for column in columns]:
            differing.append(f"{row} should be {derived}")

    for row in rows("addressing.csv"):
        derived = derive(row["slug"], int(row["attempt"]), row["pool"], int(row["prefix"]))
        compare(row, derived, "subnet", "gateway", "ip")
    for row in rows("ipv6.csv"):
        derived = derive6(row["slug"], int(row["attempt"]))
        compare(row, derived, "subnet", "gateway", "ip")
    for row in rows("loopback.csv"):
        compare(row, [loopback(row["slug"])], "address")
    for row in rows("bridge-names.csv"):
        compare(row, [bridge_name(row["prefix"], row["slug"])], "bridge")
    for row in rows("placement.csv"):
        compare(row, [" ".join(rank(row["slug"], row["engines"].split(" ")))], "ranking")
    print("\n".join(differing))
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
