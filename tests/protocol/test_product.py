"""Product codes describe themselves, and every product has one name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prixfixe.errors import InvalidInput
from prixfixe.protocol.product import DEFAULT_DISK_MIB, MAX_SECONDS, Product

_uint32 = st.integers(1, 2**32 - 1)
_models = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,10}[a-z0-9])?", fullmatch=True)
_gpus = st.one_of(st.just((0, "")), st.tuples(st.integers(1, 255), _models))
products = st.builds(
    lambda milli_vcpu, memory, disk, gpus, seconds: Product(
        milli_vcpu, memory, disk, gpus[1], gpus[0], seconds
    ),
    _uint32,
    _uint32,
    st.integers(0, 2**32 - 1),
    _gpus,
    st.integers(1, MAX_SECONDS),
)


@given(products)
def test_code_and_name_read_back_to_the_same_product(product: Product) -> None:
    assert Product.from_bytes(product.to_bytes()) == product
    assert Product.parse(product.name) == product


def test_the_code_is_laid_out_from_the_top_as_the_contract_reads_it() -> None:
    product = Product.parse("gpu-8x64-disk200-2xa100-80g/1h")
    code = "01 00001f40 00010000 00032000 02 613130302d38306700000000 0000 00000e10"
    assert product.to_bytes() == bytes.fromhex(code)


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("cpu-2x4/10m", Product(2000, 4096, DEFAULT_DISK_MIB, max_seconds=600)),
        ("cpu-0.5x0.5/90s", Product(500, 512, DEFAULT_DISK_MIB, max_seconds=90)),
        ("cpu-1x2-disk20/2h", Product(1000, 2048, 20480, max_seconds=7200)),
    ],
)
def test_names_are_vcpu_by_gib_and_time(name: str, product: Product) -> None:
    assert Product.parse(name) == product
    assert product.name == name


@pytest.mark.parametrize(
    "name",
    [
        "cpu-2x4",
        "cpu-2x4/10",
        "cpu-0x4/10m",
        "cpu-2x4/0m",
        "gpu-2x4/10m",
        "cpu-2x4-1xa100/10m",
        "cpu-2.0001x4/10m",
        "cpu-2x0.3/10m",
        "CPU-2x4/10m",
        "cpu-2x4/10m ",
        "cpu-2x4/5000000000s",
        "",
    ],
)
def test_names_of_no_product_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Product.parse(name)
    assert refused.value.code == "bad-product"


@given(st.binary(min_size=32, max_size=32))
def test_a_code_that_is_accepted_is_the_only_code_of_its_product(code: bytes) -> None:
    try:
        product = Product.from_bytes(b"\x01" + code[1:])
    except InvalidInput:
        return
    assert product.to_bytes() == b"\x01" + code[1:]


@pytest.mark.parametrize(("at", "byte"), [(0, 2), (0, 0), (14, 0x41), (26, 1), (27, 1), (14, 0xFF)])
def test_another_version_or_a_bit_that_must_be_zero_is_refused(at: int, byte: int) -> None:
    code = bytearray(Product.parse("cpu-2x4/10m").to_bytes())
    code[at] = byte
    with pytest.raises(InvalidInput):
        Product.from_bytes(bytes(code))


@pytest.mark.parametrize("field", ["milli_vcpu", "memory_mib", "max_seconds"])
@pytest.mark.parametrize("value", [0, -1, 2**32, 1.0, True])
def test_sizes_are_whole_and_in_range(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=field):
        Product(**{"milli_vcpu": 1, "memory_mib": 1, field: value})  # type: ignore[arg-type]
