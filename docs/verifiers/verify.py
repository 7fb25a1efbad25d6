#!/usr/bin/env python3
"""Checks that a webhook comes from your Sluicegate and that nobody changed it.

Copy `verify` into your receiver and give it the body as it arrived, before anything parses it. `keys` are texts: `whsec_...` is a
secret that Sluicegate has too, `whpk_...` a public key (this needs the package `cryptography`; Debian: python3-cryptography).

To try it: verify.py ID TIMESTAMP SIGNATURES KEY... < body
"""

import base64
import hashlib
import hmac
import sys
import time

TOLERANCE = 5 * 60


class Refused(Exception):
    """Not to be believed; the message says why."""


def verify(keys, message_id, timestamp, signatures, body, now=None):
    """Returns if any of `keys` made any of `signatures`; else raises `Refused`."""
    now = time.time() if now is None else now
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now - int(timestamp)) > TOLERANCE:
        raise Refused("sent at another time: replayed, or a clock is wrong")
    signed = f"{message_id}.{timestamp}.".encode() + body
    for version, _, encoded in (signature.partition(",") for signature in signatures.split(" ")):
        try:
            signature = base64.b64decode(encoded, validate=True)
        except ValueError:
            continue
        if any(made_by(key, version, signature, signed) for key in keys):
            return
    raise Refused("no signature fits")


def made_by(key, version, signature, signed):
    kind, _, encoded = key.partition("_")
    raw = base64.b64decode(encoded)
    if (kind, version) == ("whsec", "v1"):
        return hmac.compare_digest(hmac.new(raw, signed, hashlib.sha256).digest(), signature)
    if (kind, version) == ("whpk", "v1a"):
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(raw).verify(signature, signed)
        except InvalidSignature:
            return False
        return True
    return False


if __name__ == "__main__":
    message_id, timestamp, signatures, *keys = sys.argv[1:]
    try:
        verify(keys, message_id, timestamp, signatures, sys.stdin.buffer.read())
    except Refused as why:
        sys.exit(f"refused: {why}")
    print("genuine")
