"""Who vouches for a bundle: keys as files, the signature, and what a device trusts."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from physedge_runtime import bundle as bundle_module
from physedge_runtime import load
from physedge_runtime import manifest as manifest_module
from physedge_runtime.bundle import MANIFEST, SIGNATURE, Bundle, canonical_zip, read_bundle
from physedge_runtime.device_config import DEVICE_VARIABLE
from physedge_runtime.errors import BuildError, IntegrityError, PhysedgeError, UsageError
from physedge_runtime.keys import (
    ANYBODY,
    TrustedKey,
    TrustStore,
    read_private_key,
    read_public_key,
    trust_store,
    write_new_key,
)
from physedge_runtime.signature import Signature, check_signature, parse_signature, signed_message
from physedge_runtime.signing import command_signer, file_signer, sign_bundle

Write = Callable[..., Path]


@pytest.fixture
def maker(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    write_new_key(folder / "maker.pem")
    return folder / "maker.pem"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    folder = tmp_path / "other"
    folder.mkdir()
    write_new_key(folder / "other.pem")
    return folder / "other.pem"


def refused(identifier: str, path: Path, trust: object) -> None:
    with pytest.raises(IntegrityError, match=identifier):
        read_bundle(path, trust=trust)  # type: ignore[arg-type]


def test_the_published_vector_of_ed25519_holds() -> None:
    # RFC 8032, section 7.1, TEST 2: one key pair, one message, one signature, all published.
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    )
    assert private.public_key().public_bytes_raw() == public
    assert private.sign(b"\x72").hex().startswith("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da")


@pytest.mark.requirement("REQ-TRUST-SIGNATURE")
def test_a_signed_bundle_is_taken_and_says_by_whom(write_tiny: Write, maker: Path) -> None:
    path = write_tiny()
    assert read_bundle(path).trust == "unsigned"
    signed = sign_bundle(path, file_signer(maker))
    assert signed.trust.startswith("signed by maker (")
    assert load(path, trust=str(maker.with_suffix(".pub"))).trust == signed.trust
    assert read_bundle(path).trust == "signature not checked"


def test_signing_changes_nothing_but_the_signature(write_tiny: Write, maker: Path, other: Path) -> None:
    path = write_tiny()
    before = read_bundle(path)
    first = sign_bundle(path, file_signer(maker))
    second = sign_bundle(path, file_signer(other))
    for signed in (first, second):
        assert {name: signed.read(name) for name in before.contents} == dict(before.contents)
        assert signed.manifest_sha256 == before.manifest_sha256
    assert first.sha256 != before.sha256
    refused("PE-SIGN-007", path, maker.with_suffix(".pub"))


def test_every_result_says_who_vouches(write_tiny: Write, maker: Path) -> None:
    import numpy as np

    path = write_tiny()
    picture = np.zeros((8, 8, 3), np.uint8)
    with read_bundle(path).open() as net:
        assert net.infer(picture).bundle_trust == "unsigned"
    signed = sign_bundle(path, file_signer(maker))
    with signed.open() as net:
        assert net.infer(picture).bundle_trust == signed.trust


@pytest.mark.requirement("REQ-TRUST-SIGNATURE")
def test_an_unsigned_bundle_is_refused_where_a_key_is_trusted(write_tiny: Write, maker: Path) -> None:
    refused("PE-SIGN-005", write_tiny(), [maker.with_suffix(".pub")])


def test_one_of_several_keys_is_enough(write_tiny: Write, maker: Path, other: Path) -> None:
    path = write_tiny()
    sign_bundle(path, file_signer(maker))
    public = [other.with_suffix(".pub"), maker.with_suffix(".pub")]
    assert read_bundle(path, trust=public).trust.startswith("signed by maker")
    refused("PE-SIGN-007", path, public[:1])


@pytest.mark.requirement("REQ-TRUST-BEFORE-PARSING")
def test_no_parser_sees_a_byte_before_the_signature_holds(
    write_tiny: Write, maker: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiny()
    sign_bundle(path, file_signer(other))

    def never(*_: object, **__: object) -> object:
        raise AssertionError("a parser was asked")

    monkeypatch.setattr(manifest_module, "parse_manifest", never)
    monkeypatch.setattr(manifest_module.json, "loads", never)
    monkeypatch.setattr(bundle_module, "_check_entries", never)
    refused("PE-SIGN-007", path, maker.with_suffix(".pub"))


def test_the_signature_holds_before_the_hashes_are_looked_at(write_tiny: Write, maker: Path) -> None:
    path = write_tiny()
    signed = sign_bundle(path, file_signer(maker))
    contents = {**signed.contents, "model.onnx": b"another graph"}
    path.write_bytes(canonical_zip(contents))
    refused("PE-BUNDLE-010", path, maker.with_suffix(".pub"))
    path.write_bytes(canonical_zip({**contents, MANIFEST: b"{"}))
    refused("PE-SIGN-008", path, maker.with_suffix(".pub"))


def resigned(path: Path, bundle: Bundle, signature: Signature) -> Path:
    path.write_bytes(canonical_zip({**bundle.contents, SIGNATURE: signature.to_bytes()}))
    return path


def test_a_signature_belongs_to_its_manifest_key_and_day(write_tiny: Write, maker: Path, other: Path) -> None:
    path = write_tiny()
    signed = sign_bundle(path, file_signer(maker))
    genuine = parse_signature(signed.read(SIGNATURE), origin="x")
    for changed in (
        Signature(key_id=genuine.key_id, not_after=date(2999, 1, 1), signature=genuine.signature),
        Signature(key_id=genuine.key_id, not_after=None, signature=bytes(64)),
        Signature(key_id=genuine.key_id, not_after=None, signature=genuine.signature[:63] + b"\0"),
    ):
        refused("PE-SIGN-008", resigned(path, signed, changed), maker.with_suffix(".pub"))
    confused = Signature(
        key_id=read_public_key(other.with_suffix(".pub")).key_id, not_after=None, signature=genuine.signature
    )
    both = [maker.with_suffix(".pub"), other.with_suffix(".pub")]
    refused("PE-SIGN-008", resigned(path, signed, confused), both)


def test_the_message_cannot_be_taken_for_another_one() -> None:
    messages = {
        signed_message(manifest, key, day)
        for manifest in (b"{}\n", b"{}\n\n")
        for key in ("0" * 64, "1" * 64)
        for day in (None, date(2030, 1, 1))
    }
    assert len(messages) == 8
    assert all(message.startswith(b"physedge bundle signature 1\n{") for message in messages)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"null\n",
        b'{"algorithm":"none","key_id":"' + b"0" * 64 + b'","not_after":null,"schema_version":1,"signature":""}\n',
        b'{"algorithm":"ed25519","key_id":"' + b"0" * 64 + b'","not_after":"2026-02-30","schema_version":1,'
        b'"signature":"' + b"0" * 128 + b'"}\n',
        b'{"algorithm":"ed25519","key_id":"' + b"0" * 64 + b'","not_after":null,"schema_version":2,'
        b'"signature":"' + b"0" * 128 + b'"}\n',
    ],
)
def test_a_signature_in_another_form_is_refused_also_where_nobody_is_trusted(content: bytes, write_tiny: Write) -> None:
    path = write_tiny()
    path.write_bytes(canonical_zip({**read_bundle(path).contents, SIGNATURE: content}))
    refused("PE-SIGN-006", path, None)


def test_a_signature_and_a_key_have_a_last_day(write_tiny: Write, maker: Path) -> None:
    path = write_tiny()
    last_day = date(2031, 5, 4)
    signed = sign_bundle(path, file_signer(maker), not_after=last_day)
    manifest, signature = signed.read(MANIFEST), signed.read(SIGNATURE)
    key = read_public_key(maker.with_suffix(".pub"))
    trust = TrustStore(keys=(key,))
    assert check_signature(manifest, signature, trust, origin="x", today=last_day).startswith("signed")
    with pytest.raises(IntegrityError, match=r"PE-SIGN-009.*signature.*2031-05-04"):
        check_signature(manifest, signature, trust, origin="x", today=last_day + timedelta(days=1))
    short = TrustStore(keys=(TrustedKey(name="maker", public=key.public, not_after=date(2030, 1, 1)),))
    with pytest.raises(IntegrityError, match=r"PE-SIGN-009.*key maker"):
        check_signature(manifest, signature, short, origin="x", today=date(2030, 1, 2))


def test_revoked_keys_and_bundles_are_refused(write_tiny: Write, maker: Path) -> None:
    path = write_tiny()
    signed = sign_bundle(path, file_signer(maker))
    key = read_public_key(maker.with_suffix(".pub"))
    refused("PE-SIGN-010", path, TrustStore(keys=(key,), revoked_keys=frozenset({key.key_id})))
    refused("PE-SIGN-010", path, TrustStore(keys=(key,), revoked_bundles=frozenset({signed.manifest_sha256})))


class TestKeyFiles:
    def test_modes(self, maker: Path) -> None:
        assert maker.stat().st_mode & 0o777 == 0o600
        assert maker.with_suffix(".pub").stat().st_mode & 0o777 == 0o644
        maker.chmod(0o640)
        with pytest.raises(UsageError, match=r"PE-SIGN-003.*0640"):
            read_private_key(maker)
        maker.with_suffix(".pub").chmod(0o664)
        with pytest.raises(IntegrityError, match="PE-SIGN-004"):
            read_public_key(maker.with_suffix(".pub"))

    def test_a_key_is_never_overwritten(self, maker: Path, tmp_path: Path) -> None:
        before = maker.read_bytes()
        with pytest.raises(UsageError, match="PE-SIGN-011"):
            write_new_key(maker)
        with pytest.raises(UsageError, match="PE-SIGN-011"):
            write_new_key(tmp_path / "x.pub")
        assert maker.read_bytes() == before

    def test_a_folder_that_anybody_writes_to_is_no_place_for_a_key(self, maker: Path) -> None:
        maker.parent.chmod(0o777)
        with pytest.raises(IntegrityError, match="PE-SIGN-004"):
            read_public_key(maker.with_suffix(".pub"))

    def test_exchanged_and_foreign_keys(self, maker: Path, tmp_path: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec, x25519
        from cryptography.hazmat.primitives.serialization import (
            BestAvailableEncryption,
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
        )

        with pytest.raises(UsageError, match=r"PE-SIGN-002.*a private key"):
            read_public_key(maker)
        with pytest.raises(UsageError, match="PE-SIGN-002"):
            read_private_key(_private(tmp_path / "a.pem", maker.with_suffix(".pub").read_bytes()))
        for foreign in (x25519.X25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())):
            pem = foreign.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            (tmp_path / "foreign.pub").write_bytes(pem)
            with pytest.raises(UsageError, match=r"PE-SIGN-002.*another kind"):
                read_public_key(tmp_path / "foreign.pub")
            private = foreign.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            with pytest.raises(UsageError, match=r"PE-SIGN-002.*another kind"):
                read_private_key(_private(tmp_path / "b.pem", private))
        locked = read_private_key(maker).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")
        )
        with pytest.raises(UsageError, match=r"PE-SIGN-002.*password"):
            read_private_key(_private(tmp_path / "c.pem", locked))
        with pytest.raises(UsageError, match="PE-SIGN-001"):
            read_public_key(tmp_path / "absent.pub")
        with pytest.raises(UsageError, match="PE-SIGN-002"):
            read_private_key(_private(tmp_path / "d.pem", b"nothing"))

    def test_the_public_form_is_that_of_the_library(self, maker: Path) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        key = read_private_key(maker).public_key()
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        assert pem == maker.with_suffix(".pub").read_bytes()
        assert read_public_key(maker.with_suffix(".pub")).public == key.public_bytes_raw()


def _private(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


class TestExternalSigner:
    PROGRAM = """
import base64, sys
from pathlib import Path
from physedge_runtime.keys import read_private_key
signature = read_private_key(Path(sys.argv[1])).sign(sys.stdin.buffer.read())
form = {"raw": lambda s: s, "hex": lambda s: s.hex().encode() + b"\\n", "base64": base64.b64encode}[sys.argv[2]]
sys.stdout.buffer.write(form(signature))
"""

    @pytest.mark.parametrize("form", ["raw", "hex", "base64"])
    def test_it_is_asked_and_its_answer_checked(self, write_tiny: Write, maker: Path, form: str) -> None:
        path = write_tiny()
        command = shlex.join([sys.executable, "-c", self.PROGRAM, str(maker), form])
        signer = command_signer(command, read_public_key(maker.with_suffix(".pub")))
        assert sign_bundle(path, signer).trust.startswith("signed by maker")

    @pytest.mark.parametrize("command", ["false", "true", "/nonexistent/program", "echo short", "'"])
    def test_what_it_does_wrong_leaves_the_bundle_alone(self, write_tiny: Write, maker: Path, command: str) -> None:
        path = write_tiny()
        before = path.read_bytes()
        with pytest.raises(BuildError, match="PE-SIGN-012"):
            sign_bundle(path, command_signer(command, read_public_key(maker.with_suffix(".pub"))))
        assert path.read_bytes() == before

    def test_the_signature_of_another_key_is_not_written(self, write_tiny: Write, maker: Path, other: Path) -> None:
        path = write_tiny()
        before = path.read_bytes()
        signer = file_signer(other)
        wrong = type(signer)(key=read_public_key(maker.with_suffix(".pub")), sign=signer.sign)
        with pytest.raises(BuildError, match="PE-SIGN-012"):
            sign_bundle(path, wrong)
        assert path.read_bytes() == before

    def test_openssl_accepts_what_was_signed(self, write_tiny: Write, maker: Path, tmp_path: Path) -> None:
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.skip("the program openssl is not installed")
        signed = sign_bundle(write_tiny(), file_signer(maker))
        parsed = parse_signature(signed.read(SIGNATURE), origin="x")
        (tmp_path / "message").write_bytes(signed_message(signed.read(MANIFEST), parsed.key_id, None))
        (tmp_path / "signature").write_bytes(parsed.signature)
        answer = subprocess.run(
            [
                *(openssl, "pkeyutl", "-verify", "-pubin", "-inkey", str(maker.with_suffix(".pub")), "-rawin"),
                *("-in", str(tmp_path / "message"), "-sigfile", str(tmp_path / "signature")),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr


class TestDevice:
    @pytest.fixture
    def device(self, tmp_path: Path, maker: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = tmp_path / "etc"
        folder.mkdir()
        shutil.copy(maker.with_suffix(".pub"), folder / "maker.pub")
        (folder / "device.toml").write_text('[trust]\nkeys = ["maker.pub"]\n', encoding="utf-8")
        monkeypatch.setenv(DEVICE_VARIABLE, str(folder / "device.toml"))
        return folder

    def test_its_keys_count_without_an_option(self, device: Path, write_tiny: Write, maker: Path) -> None:
        path = write_tiny()
        refused("PE-SIGN-005", path, None)
        sign_bundle(path, file_signer(maker))
        assert read_bundle(path).trust.startswith("signed by maker")
        assert read_bundle(path, trust=ANYBODY).trust == "signature not checked"

    def test_an_empty_list_of_keys_does_not_open_it(self, device: Path, write_tiny: Write) -> None:
        refused("PE-SIGN-005", write_tiny(), [])

    def test_what_it_revoked_stays_revoked(self, device: Path, write_tiny: Write, maker: Path) -> None:
        path = write_tiny()
        sign_bundle(path, file_signer(maker))
        key = read_public_key(maker.with_suffix(".pub"))
        (device / "revoked.txt").write_text(f"# leaked in May\nkey {key.key_id}  # maker\n", encoding="utf-8")
        (device / "device.toml").write_text('[trust]\nrevoked = "revoked.txt"\n', encoding="utf-8")
        refused("PE-SIGN-010", path, maker.with_suffix(".pub"))

    def test_a_bundle_that_it_revoked_stays_revoked(self, device: Path, write_tiny: Write, maker: Path) -> None:
        path = write_tiny()
        signed = sign_bundle(path, file_signer(maker))
        (device / "revoked.txt").write_text(f"bundle {signed.manifest_sha256}\n", encoding="utf-8")
        (device / "device.toml").write_text('[trust]\nrevoked = "revoked.txt"\n', encoding="utf-8")
        for trust in (None, maker.with_suffix(".pub"), [maker.with_suffix(".pub")]):
            refused("PE-SIGN-010", path, trust)

    def test_a_key_has_a_last_day(self, device: Path, write_tiny: Write, maker: Path) -> None:
        path = write_tiny()
        sign_bundle(path, file_signer(maker))
        (device / "device.toml").write_text(
            '[trust]\nkeys = [{file = "maker.pub", not_after = 2020-01-01}]\n', encoding="utf-8"
        )
        refused("PE-SIGN-009", path, None)

    def test_a_configuration_that_is_named_must_be_there(self, device: Path, write_tiny: Write) -> None:
        (device / "device.toml").unlink()
        refused("PE-SIGN-014", write_tiny(), None)

    def test_others_may_not_change_it(self, device: Path, write_tiny: Write) -> None:
        (device / "device.toml").chmod(0o666)
        refused("PE-SIGN-004", write_tiny(), None)

    def test_a_list_that_cannot_be_read(self, device: Path, write_tiny: Write) -> None:
        (device / "revoked.txt").write_text("key abc\n", encoding="utf-8")
        (device / "device.toml").write_text('[trust]\nrevoked = "revoked.txt"\n', encoding="utf-8")
        refused("PE-SIGN-013.*line 1", write_tiny(), None)

    def test_a_machine_without_one_demands_nothing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        from physedge_runtime import device_config

        monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
        monkeypatch.setattr(device_config, "DEVICE_FILE", tmp_path / "absent.toml")
        assert trust_store(None) == ANYBODY


def test_the_entry_reads_back(maker: Path) -> None:
    for day in (None, date(2030, 12, 31)):
        entry = Signature(key_id="ab" * 32, not_after=day, signature=bytes(range(64)))
        assert parse_signature(entry.to_bytes(), origin="x") == entry


def test_every_refusal_here_is_of_the_tree() -> None:
    assert issubclass(IntegrityError, PhysedgeError)
