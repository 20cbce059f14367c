"""Derivation v1 in Python; redoes the table beside it and names each row that differs."""

import csv
import pathlib
import sys

import hashlib, ipaddress

def derive(slug, attempt=0, pool="10.48.0.0/12", prefix=24):
    d = hashlib.sha256(slug.encode()).digest()
    start = int.from_bytes(d[0:8], "big")
    stride = int.from_bytes(d[8:16], "big") | 1
    pool = ipaddress.ip_network(pool)
    number = (start + attempt * stride) % 2**64 % 2 ** (prefix - pool.prefixlen)
    subnet = ipaddress.ip_network((int(pool[0]) + number * 2 ** (32 - prefix), prefix))
    return subnet, subnet[1], subnet[2]


def main():
    differing = 0
    with open(pathlib.Path(__file__).with_name("addressing.csv"), newline="") as table:
        rows = [line for line in table if not line.startswith("#")]
    for row in csv.DictReader(rows):
        derived = derive(row["slug"], int(row["attempt"]), row["pool"], int(row["prefix"]))
        if [str(it) for it in derived] != [row["subnet"], row["gateway"], row["ip"]]:
            print(f"{row} should be {derived}")
            differing += 1
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
