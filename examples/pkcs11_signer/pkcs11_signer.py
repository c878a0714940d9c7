"""Sign with an Ed25519 key that never leaves its token: the program for `physedge sign --signer`.

    pkcs11_signer.py TOKEN KEY new       make the key pair in the token; prints the public key, PEM
    pkcs11_signer.py TOKEN KEY public    print the public key, PEM
    pkcs11_signer.py TOKEN KEY sign      the message on stdin, 64 bytes of signature on stdout

TOKEN and KEY are labels. PKCS11_MODULE names the token's library, PKCS11_PIN its PIN. It needs python-pkcs11.
"""

from __future__ import annotations

import os
import sys

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from physedge_runtime.keys import public_pem

# PKCS #11 3.0 names the curve by a printable string, DER: tag, length, text.
_EDWARDS25519 = b"\x13\x0cedwards25519"
_OCTET_STRING_OF_32 = b"\x04\x20"


def main() -> int:
    token_label, key_label, what = sys.argv[1:]
    token = pkcs11.lib(os.environ["PKCS11_MODULE"]).get_token(token_label=token_label)
    with token.open(rw=what == "new", user_pin=os.environ["PKCS11_PIN"]) as session:
        if what == "new":
            curve = {Attribute.EC_PARAMS: _EDWARDS25519}
            parameters = session.create_domain_parameters(KeyType.EC_EDWARDS, curve, local=True)
            parameters.generate_keypair(
                mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN, label=key_label, id=b"\x01", store=True
            )
        if what == "sign":
            key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=key_label)
            # In one piece: Ed25519 reads its message twice, so tokens do not take it in parts.
            sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read(), mechanism=Mechanism.EDDSA))
        else:
            key = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=key_label)
            point = key[Attribute.EC_POINT].removeprefix(_OCTET_STRING_OF_32)
            sys.stdout.buffer.write(public_pem(point))
    return 0


if __name__ == "__main__":
    sys.exit(main())
