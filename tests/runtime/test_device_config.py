"""The device's configuration: what is there in any form is obeyed or refused, and no option goes around it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from device_files import CONFIGURATIONS, DEGENERATE_KEYS, LISTS, MIXED_KEYS, lay_out, pem
from other_user import NOBODY, as_nobody, needs_root

from physedge_runtime import device_config as config_module
from physedge_runtime.bundle import read_bundle
from physedge_runtime.device_config import DEVICE_VARIABLE, device_config, read_device_config
from physedge_runtime.edwards import has_small_order, is_sound_public_key
from physedge_runtime.errors import IntegrityError, PhysedgeError, UsageError
from physedge_runtime.guarded_files import read_guarded
from physedge_runtime.keys import TrustedKey, read_public_key, read_revocations, trust_store, write_new_key

Write = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the machine's own configuration; nothing lies there yet."""
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    path = tmp_path / "etc/physedge/device.toml"
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(config_module, "DEVICE_FILE", path)
    return path


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user reaches."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def answer(read: Callable[[], object]) -> str:
    try:
        read()
    except PhysedgeError as error:
        return f"{error.identifier} {error.exit_status}"
    return "taken"


class TestWhatIsThere:
    def test_nothing_there_demands_nothing(self, machine: Path) -> None:
        assert device_config().path is None
        machine.parent.rmdir()
        assert device_config().path is None

    def test_a_folder_in_its_place(self, machine: Path) -> None:
        machine.mkdir()
        assert answer(device_config) == "PE-SIGN-014 4"

    def test_a_dangling_link_in_its_place(self, machine: Path) -> None:
        machine.symlink_to(machine.parent / "absent.toml")
        assert answer(device_config) == "PE-SIGN-014 4"

    def test_a_dangling_link_in_place_of_its_folder(self, machine: Path) -> None:
        machine.parent.rmdir()
        machine.parent.symlink_to(machine.parent.parent / "absent")
        assert answer(device_config) == "PE-SIGN-014 4"

    def test_a_file_in_place_of_its_folder(self, machine: Path) -> None:
        machine.parent.rmdir()
        machine.parent.write_bytes(b"")
        assert answer(device_config) == "PE-SIGN-014 4"

    def test_a_pipe_in_its_place_is_not_waited_for(self, machine: Path) -> None:
        os.mkfifo(machine, 0o644)
        assert answer(device_config) == "PE-SIGN-014 4"

    def test_links_in_a_circle(self, machine: Path) -> None:
        machine.symlink_to(machine)
        assert answer(device_config) == "PE-SIGN-014 4"

    @pytest.mark.parametrize("mode", [0o000, 0o700, 0o755])
    def test_a_folder_or_a_file_without_permission(self, open_folder: Path, mode: int) -> None:
        """A file that may not be looked at, and one that may be looked at and not read."""
        folder = open_folder / "etc"
        folder.mkdir()
        (folder / "device.toml").write_bytes(b"")
        (folder / "device.toml").chmod(0o600 if os.geteuid() == 0 else 0o000)
        folder.chmod(mode)
        told = as_nobody(
            "from pathlib import Path\nfrom physedge_runtime import device_config, guarded_files\n"
            "from physedge_runtime.errors import PhysedgeError",
            "device_config.DEVICE_FILE = Path(sys.argv[1])\n"
            "try:\n    print(device_config.device_config())\n"
            "except PhysedgeError as error:\n    print(error.identifier, error.exit_status)",
            folder / "device.toml",
        )
        folder.chmod(0o755)
        assert told == "PE-SIGN-014 4"

    def test_a_configuration_that_is_too_long(self, machine: Path) -> None:
        machine.write_bytes(b"#" * (1024**2 + 1))
        assert answer(device_config) == "PE-SIGN-014 4"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_is_taken_or_refused(name: str, tmp_path: Path) -> None:
    content, expected = CONFIGURATIONS[name]
    assert answer(lambda: read_device_config(lay_out(tmp_path, content))) == expected


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_revocations_is_read_or_refused(name: str, tmp_path: Path) -> None:
    content, expected = LISTS[name]
    (tmp_path / "revoked.txt").write_bytes(content)
    if isinstance(expected, str):
        with pytest.raises(IntegrityError, match=expected):
            read_revocations(tmp_path / "revoked.txt")
    else:
        keys, bundles = read_revocations(tmp_path / "revoked.txt")
        assert (len(keys), len(bundles)) == expected


class TestWhoMayChangeIt:
    """Owner and mode of the file, and of every folder and link on the way."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        folder = tmp_path / "a/b"
        folder.mkdir(parents=True)
        (folder / "x").write_bytes(b"content")
        return folder / "x"

    def test_what_nobody_else_can_change_is_read(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert read_guarded(file, 100) == b"content"
        monkeypatch.chdir(file.parent.parent)
        assert read_guarded(Path("b/../b/x"), 100) == b"content"
        link = file.parent.parent / "link"
        link.symlink_to("b/x")
        assert read_guarded(link, 100) == b"content"

    @pytest.mark.parametrize("mode", [0o020, 0o002])
    @pytest.mark.parametrize("place", ["x", ".", ".."])
    def test_a_file_or_a_folder_that_others_may_write_to(self, file: Path, place: str, mode: int) -> None:
        changed = file if place == "x" else file.parent if place == "." else file.parent.parent
        changed.chmod(changed.stat().st_mode | mode)
        with pytest.raises(IntegrityError, match=r"PE-SIGN-004.*may be changed by others"):
            read_guarded(file, 100)

    def test_a_folder_with_the_sticky_bit(self, file: Path) -> None:
        file.parent.chmod(0o1777)
        assert read_guarded(file, 100) == b"content"

    def test_a_link_that_lies_in_an_open_folder(self, file: Path) -> None:
        loose = file.parent.parent / "loose"
        loose.mkdir()
        (loose / "key").symlink_to(file)
        loose.chmod(0o777)
        with pytest.raises(IntegrityError, match=r"PE-SIGN-004.*loose"):
            read_guarded(loose / "key", 100)

    @needs_root
    @pytest.mark.parametrize("place", ["x", "link", "."])
    def test_what_belongs_to_a_stranger(self, file: Path, place: str) -> None:
        link = file.parent.parent / "link"
        link.symlink_to(file)
        changed = {"x": file, "link": link, ".": file.parent}[place]
        os.chown(changed, NOBODY, NOBODY, follow_symlinks=False)
        with pytest.raises(IntegrityError, match=r"PE-SIGN-004.*belongs to another user"):
            read_guarded(link, 100)

    @needs_root
    @pytest.mark.parametrize("name", ["device.toml", "maker.pub", "revoked.txt"])
    def test_every_file_of_the_device_has_to_be_its_own(self, tmp_path: Path, name: str) -> None:
        path = lay_out(tmp_path, CONFIGURATIONS["keys and revocations"][0])
        assert answer(lambda: read_device_config(path)) == "taken"
        os.chown(tmp_path / name, NOBODY, NOBODY)
        assert answer(lambda: read_device_config(path)) == "PE-SIGN-004 4"

    @needs_root
    def test_what_is_roots_is_taken_by_everybody(self, open_folder: Path) -> None:
        path = lay_out(open_folder, CONFIGURATIONS["keys and revocations"][0])
        told = as_nobody(
            "from pathlib import Path\nfrom physedge_runtime.device_config import read_device_config",
            "print(len(read_device_config(Path(sys.argv[1])).trust.keys))",
            path,
        )
        assert told == "1"


class TestDegenerateKeys:
    @pytest.mark.parametrize("encoded", [*DEGENERATE_KEYS, *MIXED_KEYS])
    def test_they_are_refused(self, encoded: str, tmp_path: Path) -> None:
        assert not is_sound_public_key(bytes.fromhex(encoded))
        (tmp_path / "x.pub").write_bytes(pem(encoded))
        with pytest.raises(UsageError, match=r"PE-SIGN-002.*anybody could sign"):
            read_public_key(tmp_path / "x.pub")
        with pytest.raises(UsageError, match="PE-SIGN-002"):
            TrustedKey(name="x", public=bytes.fromhex(encoded))

    @pytest.mark.parametrize("encoded", DEGENERATE_KEYS)
    def test_small_orders_are_known(self, encoded: str) -> None:
        assert has_small_order(bytes.fromhex(encoded))

    def test_keys_that_were_made_are_sound(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        for number in range(20):
            public = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32).public_key().public_bytes_raw()
            assert is_sound_public_key(public)
            assert not has_small_order(public)

    def test_a_signature_that_anybody_can_make_up_is_taken_by_the_library_and_not_here(self, write_tiny: Write) -> None:
        """Under the neutral point as key, S = 0 and R = the neutral point sign everything."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        from physedge_runtime.bundle import MANIFEST
        from physedge_runtime.keys import TrustStore, key_id
        from physedge_runtime.signature import Signature, check_signature

        neutral = (1).to_bytes(32, "little")
        Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"anything")
        manifest = read_bundle(write_tiny()).read(MANIFEST)
        entry = Signature(key_id=key_id(neutral), not_after=None, signature=neutral + bytes(32)).to_bytes()
        key = object.__new__(TrustedKey)  # as if the check of the key were not there
        for name, value in {"name": "x", "public": neutral, "not_after": None}.items():
            object.__setattr__(key, name, value)
        with pytest.raises(IntegrityError, match="PE-SIGN-008"):
            check_signature(manifest, entry, TrustStore(keys=(key,)), origin="x")


class TestOptions:
    """What weakens is refused unless the section [allow] names it, and then stands in every result's head."""

    @pytest.fixture
    def keys(self, tmp_path: Path) -> tuple[Path, Path]:
        folder = tmp_path / "keys"
        folder.mkdir()
        return write_new_key(folder / "maker.pem")[0], write_new_key(folder / "other.pem")[0]

    def write(self, machine: Path, keys: tuple[Path, Path], *allowed: str) -> None:
        options = ", ".join(f'"{name}"' for name in allowed)
        machine.write_text(f'[trust]\nkeys = ["{keys[0]}"]\n[allow]\noptions = [{options}]\n', encoding="utf-8")

    def test_other_keys(self, machine: Path, keys: tuple[Path, Path], write_tiny: Write) -> None:
        from physedge_runtime.signing import file_signer, sign_bundle

        self.write(machine, keys)
        with pytest.raises(UsageError, match=r"PE-SIGN-016.*--trust other"):
            trust_store(keys[1])
        with pytest.raises(UsageError, match="PE-SIGN-016"):
            trust_store(keys)
        assert trust_store(keys[0]).keys == device_config().trust.keys
        self.write(machine, keys, "trust")
        path = write_tiny()
        sign_bundle(path, file_signer(keys[1].with_suffix(".pem")))
        opened = read_bundle(path, trust=keys[1])
        assert opened.trust.startswith("signed by other (")
        assert opened.trust.endswith("; weakened by --trust other")
        with opened.open(engine="fake") as net:
            assert net.bundle_trust == opened.trust

    def test_a_key_that_is_named_keeps_its_last_day(self, machine: Path, keys: tuple[Path, Path]) -> None:
        machine.write_text(f'[trust]\nkeys = [{{file = "{keys[0]}", not_after = 2020-01-01}}]\n', encoding="utf-8")
        assert str(trust_store(keys[0]).keys[0].not_after) == "2020-01-01"

    def test_keys_where_the_device_has_none_are_no_weakening(self, machine: Path, keys: tuple[Path, Path]) -> None:
        machine.write_bytes(b"")
        assert trust_store(keys[1]).weakened == ()

    def test_another_configuration(
        self, machine: Path, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.write(machine, keys)
        other = tmp_path / "other.toml"
        other.write_bytes(b"")
        monkeypatch.setenv(DEVICE_VARIABLE, str(other))
        with pytest.raises(UsageError, match=r"PE-SIGN-016.*PHYSEDGE_DEVICE="):
            device_config()
        monkeypatch.setenv(DEVICE_VARIABLE, str(machine))
        assert device_config().path == machine
        self.write(machine, keys, "device")
        machine.write_text(machine.read_text() + "[trust2]\n", encoding="utf-8")
        assert answer(device_config) == "PE-SIGN-014 4"
        self.write(machine, keys, "device")
        monkeypatch.setenv(DEVICE_VARIABLE, str(other))
        assert device_config().path == other
        assert device_config().trust.weakened == (f"PHYSEDGE_DEVICE={other}",)
        assert device_config().trust.keys == ()

    def test_what_is_revoked_stays_so_under_another_configuration(
        self, machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (machine.parent / "revoked.txt").write_text(f"bundle {'0' * 64}\n", encoding="utf-8")
        machine.write_text('[trust]\nrevoked = "revoked.txt"\n[allow]\noptions = ["device"]\n', encoding="utf-8")
        other = tmp_path / "other.toml"
        other.write_bytes(b"")
        monkeypatch.setenv(DEVICE_VARIABLE, str(other))
        assert device_config().trust.revoked_bundles == {"0" * 64}
