"""Seeds: BIP-32 to the letter, one key an account, nothing shown, the known one on local chains only."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from prixfixe import development_keys, keys
from prixfixe.derivation import derive, written
from prixfixe.errors import ConfigurationError, DevelopmentKeyRefused, InvalidInput, PrixfixeError
from prixfixe.protocol.signatures import recover
from prixfixe.seeds import LocalSeed, load_seed, path_of

DIGEST = b"\x22" * 32
# Of the standard's own: https://github.com/bitcoin/bips/blob/master/bip-0032.mediawiki#test-vectors
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bip32.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: f"{each['seed'][:8]}-{len(each['path'])}")
def test_keys_are_those_of_the_standards_vectors(vector: dict[str, Any]) -> None:
    assert derive(bytes.fromhex(vector["seed"]), vector["path"]) == _key_in(vector["private"])


def test_account_one_is_where_wallets_look_for_it() -> None:
    Account.enable_unaudited_hdwallet_features()
    theirs = Account.from_mnemonic(development_keys.MNEMONIC, account_path="m/44'/60'/7'/0/0")
    signer = load_seed("dev", chain_id=31337).signer(7)
    assert signer.address == theirs.address
    assert written(path_of(7)) == "m/44'/60'/7'/0/0"
    assert recover(DIGEST, signer.sign_digest(DIGEST)) == signer.address


def test_every_account_has_an_address_of_its_own_and_none_is_a_development_account() -> None:
    seed = load_seed("dev", chain_id=31337)
    addresses = {seed.signer(number).address for number in range(1, 20)}
    assert len(addresses) == 19
    assert not addresses & set(development_keys.ADDRESSES)


@pytest.mark.parametrize("number", [0, -1, 2**31, True])
def test_what_is_no_number_of_an_account_has_no_key(number: int) -> None:
    with pytest.raises(InvalidInput):
        path_of(number)


@pytest.mark.parametrize("chain_id", [1, 8453])
def test_the_known_seed_is_refused_where_money_is_real(chain_id: int) -> None:
    with pytest.raises(DevelopmentKeyRefused):
        load_seed("dev", chain_id=chain_id)


def test_a_keystores_bytes_are_the_seed_and_are_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIXFIXE_HOME", str(tmp_path))
    keys.create_keystore("accounts", "p", private_key=b"\x17" * 32)
    seed = load_seed("accounts", chain_id=8453, password=lambda _: "p")
    assert seed.signer(1).address == LocalSeed(b"\x17" * 32, chain_id=8453).signer(1).address
    assert "17" * 32 not in repr(seed)
    with pytest.raises(TypeError):
        pickle.dumps(seed)
    with pytest.raises(ConfigurationError) as wrong:
        load_seed("keystore:accounts", chain_id=8453, password=lambda _: "q")
    assert wrong.value.code == "wrong-password"


def test_an_external_signer_is_told_which_key_is_meant(tmp_path: Path) -> None:
    program, asked = tmp_path / "signer.py", tmp_path / "asked"
    program.write_text(
        "import json, sys\n"
        "question = json.load(sys.stdin)\n"
        "from prixfixe.seeds import LocalSeed\n"
        f"print(question['method'], question['path'], file=open({str(asked)!r}, 'a'))\n"
        "number = int(question['path'].split('/')[3].rstrip(chr(39)))\n"
        "signer = LocalSeed(bytes(range(32)), chain_id=8453).signer(number)\n"
        "if question['method'] == 'address':\n"
        "    print(json.dumps({'address': signer.address}))\n"
        "else:\n"
        "    digest = bytes.fromhex(question['digest'][2:])\n"
        "    print(json.dumps({'signature': '0x' + signer.sign_digest(digest).hex()}))\n"
    )
    seed = load_seed(f"command:{sys.executable} {program}", chain_id=8453)
    expected = LocalSeed(bytes(range(32)), chain_id=8453).signer(3)
    signer = seed.signer(3)
    assert signer.address == expected.address
    assert recover(DIGEST, signer.sign_digest(DIGEST)) == expected.address
    assert seed.signer(3).address == expected.address
    of_first, of_third = "m/44'/60'/1'/0/0", "m/44'/60'/3'/0/0"
    assert asked.read_text().splitlines() == [
        f"address {of_first}",
        f"address {of_third}",
        f"sign {of_third}",
    ]


def test_a_development_key_is_no_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIXFIXE_HOME", str(tmp_path))
    keys.create_keystore("accounts", "p", private_key=development_keys.development_key(19))
    with pytest.raises(DevelopmentKeyRefused):
        load_seed("accounts", chain_id=31337, password=lambda _: "p")


def test_an_external_signer_that_says_nothing_is_found_out_at_the_start(tmp_path: Path) -> None:
    program = tmp_path / "signer.py"
    program.write_text(f"print({json.dumps('no')!r})\n")
    with pytest.raises(PrixfixeError) as refused:
        load_seed(f"command:{sys.executable} {program}", chain_id=8453)
    assert refused.value.code == "signer-protocol"


def _key_in(extended: str) -> bytes:
    """The private key in an extended one: base58, the last 32 bytes before the checksum of 4."""
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number = 0
    for letter in extended:
        number = number * 58 + alphabet.index(letter)
    return number.to_bytes(82, "big")[-36:-4]
