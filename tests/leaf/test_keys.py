"""Keys: named by specs, opened for one chain, never shown; development keys stay on local chains."""

from __future__ import annotations

import copy
import json
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from eth_account import Account

from prixfixe import development_keys, keys
from prixfixe.errors import (
    ConfigurationError,
    Conflict,
    DevelopmentKeyRefused,
    InvalidInput,
    NotFound,
    PrixfixeError,
)
from prixfixe.protocol.orders import Bump
from prixfixe.protocol.signatures import address_of_key, recover
from prixfixe.protocol.typed_data import Domain

KEY = b"\x11" * 32
DIGEST = b"\x22" * 32


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PRIXFIXE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(keys.PASSWORD_FILE_VARIABLE, raising=False)
    return tmp_path / "home"


def test_the_development_accounts_are_the_mnemonics() -> None:
    derived = [address_of_key(development_keys.development_key(index)) for index in range(20)]
    assert tuple(derived) == development_keys.ADDRESSES
    Account.enable_unaudited_hdwallet_features()
    theirs = Account.from_mnemonic(development_keys.MNEMONIC, account_path="m/44'/60'/0'/0/17")
    assert theirs.address == derived[17]


@pytest.mark.parametrize("chain_id", [1, 8453, 0])
def test_a_development_key_is_refused_off_local_chains(chain_id: int) -> None:
    with pytest.raises(DevelopmentKeyRefused) as refused:
        keys.load_signer("dev:3", chain_id=chain_id)
    assert refused.value.exit_code == 5
    with pytest.raises(DevelopmentKeyRefused):
        keys.LocalSigner(development_keys.development_key(0), chain_id=chain_id)


@pytest.mark.parametrize("chain_id", [31337, 1337])
def test_a_development_key_signs_on_local_chains(chain_id: int) -> None:
    signer = keys.load_signer("dev:3", chain_id=chain_id)
    assert recover(DIGEST, signer.sign_digest(DIGEST)) == signer.address == development_keys.ADDRESSES[3]


def test_a_key_opened_for_one_chain_signs_no_order_of_another() -> None:
    signer = keys.development_signer(0)
    order = Bump(signer.address, 0)
    domain = Domain(31337, signer.address)
    assert recover(order.digest(domain), keys.sign_typed(signer, order, domain)) == signer.address
    with pytest.raises(ConfigurationError) as other:
        keys.sign_typed(signer, order, Domain(1, signer.address))
    assert other.value.code == "wrong-chain"


def test_no_secret_is_shown_copied_or_pickled() -> None:
    signer = keys.LocalSigner(KEY, chain_id=1)
    assert KEY.hex() not in repr(signer) + str(signer)
    assert repr(KEY) not in repr(signer)
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            take(signer)


def test_a_keystore_is_private_encrypted_and_opens_with_its_password_only(own_home: Path) -> None:
    path, address = keys.create_keystore("till", "correct horse", private_key=KEY)
    assert path == own_home / "keys" / "till.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KEY.hex() not in path.read_text()
    assert keys.list_keystores() == [("till", address)]
    signer = keys.load_signer("till", chain_id=1, password=lambda prompt: "correct horse")
    assert signer.address == address == address_of_key(KEY)
    with pytest.raises(ConfigurationError) as wrong:
        keys.load_signer("keystore:till", chain_id=1, password=lambda prompt: "battery staple")
    assert wrong.value.code == "wrong-password"
    assert wrong.value.__cause__ is None
    assert "staple" not in str(wrong.value)


def test_a_process_that_opened_a_keystore_has_not_let_nested_texts_overrun_its_stack(own_home: Path) -> None:
    script = """
import json, sys
from prixfixe.keys import create_keystore
create_keystore("ops", "correct horse")
try:
    json.loads("[" * 1_000_000)
except RecursionError:
    print("refused", "py_ecc" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "refused True\n"), done.stderr


def test_a_keystore_is_never_overwritten() -> None:
    keys.create_keystore("till", "x", private_key=KEY)
    with pytest.raises(Conflict):
        keys.create_keystore("till", "x")


def test_the_password_comes_from_the_named_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, address = keys.create_keystore("till", "s3 cret", private_key=KEY)
    (tmp_path / "password").write_text("s3 cret\n")
    monkeypatch.setenv(keys.PASSWORD_FILE_VARIABLE, str(tmp_path / "password"))
    assert keys.load_signer(str(path), chain_id=1).address == address
    monkeypatch.setenv(keys.PASSWORD_FILE_VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(ConfigurationError, match="password file"):
        keys.load_signer("till", chain_id=1)


def test_without_a_terminal_a_missing_password_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    keys.create_keystore("till", "x", private_key=KEY)
    monkeypatch.setattr(sys, "stdin", open("/dev/null"))  # noqa: SIM115
    with pytest.raises(ConfigurationError) as missing:
        keys.load_signer("till", chain_id=1)
    assert keys.PASSWORD_FILE_VARIABLE in str(missing.value.hint)
    sys.stdin.close()


def test_a_keystore_of_a_development_key_is_refused_too() -> None:
    keys.create_keystore("dev", "x", private_key=development_keys.development_key(1))
    with pytest.raises(DevelopmentKeyRefused):
        keys.load_signer("dev", chain_id=1, password=lambda prompt: "x")


@pytest.mark.parametrize(
    "spec",
    ["dev:", "dev:x", "dev:20", "dev:-1", "", "a b", "0x" + "11" * 32 + ":", "command:", "command:sign 'x"],
)
def test_a_spec_that_names_no_key_is_refused(spec: str) -> None:
    with pytest.raises((InvalidInput, ConfigurationError)):
        keys.load_signer(spec, chain_id=31337)


def test_a_raw_private_key_on_the_command_line_is_not_taken_and_not_repeated_whole() -> None:
    with pytest.raises(InvalidInput) as refused:
        keys.load_signer("0x" + KEY.hex(), chain_id=31337)
    assert KEY.hex() not in str(refused.value) + str(refused.value.hint)


def test_a_missing_keystore_says_how_to_make_one() -> None:
    with pytest.raises(NotFound) as missing:
        keys.load_signer("till", chain_id=1)
    assert "prixfixe keys new" in str(missing.value.hint)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 3, "crypto": {}}'])
def test_a_broken_keystore_is_refused(own_home: Path, content: str) -> None:
    (own_home / "keys").mkdir(parents=True)
    (own_home / "keys" / "till.json").write_text(content)
    with pytest.raises(ConfigurationError):
        keys.load_signer("till", chain_id=1, password=lambda prompt: "x")


def external(tmp_path: Path, body: str) -> str:
    """Key spec of an external signer with KEY, whose answer is made by `body`."""
    program = tmp_path / "signer.py"
    program.write_text(
        "import json, sys\n"
        "from prixfixe.protocol.signatures import address_of_key, sign\n"
        f"key = bytes.fromhex('{KEY.hex()}')\n"
        "question = json.load(sys.stdin)\n" + body
    )
    return f"command:{sys.executable} {program}"


HONEST = (
    "answer = {'address': address_of_key(key)}\n"
    "if question['method'] == 'sign':\n"
    "    answer = {'signature': '0x' + sign(bytes.fromhex(question['digest'][2:]), key).hex()}\n"
    "print(json.dumps(answer))\n"
)


def test_an_external_signer_signs_without_showing_its_key(tmp_path: Path) -> None:
    signer = keys.load_signer(external(tmp_path, HONEST), chain_id=8453)
    assert signer.address == address_of_key(KEY)
    assert recover(DIGEST, signer.sign_digest(DIGEST)) == signer.address


def test_an_external_signer_that_signs_with_another_key_is_caught(tmp_path: Path) -> None:
    signer = keys.load_signer(
        external(tmp_path, "key = bytes([int(question['method'] == 'sign') + 1]) * 32\n" + HONEST),
        chain_id=8453,
    )
    with pytest.raises(PrixfixeError) as caught:
        signer.sign_digest(DIGEST)
    assert caught.value.code == "bad-signature"


@pytest.mark.parametrize("body", ["print('hello')", "print('[]')", "print('{}')", "sys.exit(4)"])
def test_an_external_signer_that_does_not_answer_is_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(PrixfixeError):
        keys.load_signer(external(tmp_path, body), chain_id=8453)


def test_what_an_external_signer_prints_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(PrixfixeError) as refused:
        keys.load_signer(
            external(tmp_path, "print(key.hex())\nprint(key.hex(), file=sys.stderr)\nsys.exit(1)"),
            chain_id=8453,
        )
    assert KEY.hex() not in json.dumps(refused.value.to_problem())


def test_a_missing_program_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="does not run"):
        keys.load_signer("command:/no/such/program", chain_id=1)


def test_only_a_key_that_asks_nobody_is_opened_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keys.opens_unasked("dev:3")
    assert not keys.opens_unasked("command:hardware-signer"), "it may wait for a touch"
    assert not keys.opens_unasked("keystore:mine"), "it asks for a password"
    monkeypatch.setenv(keys.PASSWORD_FILE_VARIABLE, "/run/password")
    assert keys.opens_unasked("keystore:mine")
    assert keys.opens_unasked("mine")
    assert not keys.opens_unasked("command:hardware-signer")


def test_the_home_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert keys.home() == tmp_path / "home"
    monkeypatch.delenv("PRIXFIXE_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert keys.home() == tmp_path / "xdg" / "prixfixe"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert keys.home() == tmp_path / ".local" / "share" / "prixfixe"
