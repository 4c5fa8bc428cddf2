"""A bundle's definition is strict, hashed in one form, and picks the tier."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from prixfixe.errors import AboveTier, ConfigurationError, InvalidInput
from prixfixe.protocol.bundle import BundleDefinition, application_digest, load, parse
from prixfixe.protocol.canonical import canonical_digest
from prixfixe.protocol.money import Money
from prixfixe.protocol.product import Product

FOLDER = Path(__file__).parents[2] / "bundles" / "pivot"
PIVOT = load(FOLDER)
IMAGE = "sha256:" + "ab" * 32
DOCUMENT = PIVOT.to_json()


def changed(**changes: Any) -> dict[str, Any]:
    """The document with fields replaced; `a__b` is field b of a."""
    document = deepcopy(DOCUMENT)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place: Any = document
        for parent in parents:
            place = place[int(parent)] if parent.isdigit() else place[parent]
        place[last] = value
    return document


def test_pivot_is_a_bundle() -> None:
    assert (PIVOT.id, PIVOT.unit, PIVOT.image) == ("pivot", "rows", None)
    assert PIVOT.limits.product == Product.parse("cpu-2x4/10m")
    assert [(tier.name, tier.price) for tier in PIVOT.tiers] == [
        ("small", Money.parse("2.00")),
        ("medium", Money.parse("4.00")),
        ("large", Money.parse("9.00")),
    ]


def test_the_published_form_reads_back_to_the_same_definition_and_hash() -> None:
    built = PIVOT.with_image(IMAGE)
    sent = json.loads(json.dumps(built.to_json()))
    again = BundleDefinition.model_validate(sent)
    assert again == built
    assert again.digest() == canonical_digest(sent) == built.digest()


def test_a_definition_without_a_sample_keeps_the_digest_from_before_there_were_samples() -> None:
    assert PIVOT.sample is not None
    plain = parse({**DOCUMENT, "sample": None})
    assert "sample" not in plain.to_json()
    assert plain.digest() == canonical_digest({n: v for n, v in DOCUMENT.items() if n != "sample"})
    assert plain.digest() != PIVOT.digest()


@pytest.mark.parametrize(
    "sample", [{"name": "a.csv", "content": ""}, {"name": "../a.csv", "content": "a\n1\n"}, {"name": "a.csv"}]
)
def test_a_sample_without_a_form_is_refused(sample: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="sample"):
        parse({**DOCUMENT, "sample": sample})


def test_a_sample_is_of_a_format_that_the_bundle_takes() -> None:
    with pytest.raises(ConfigurationError, match="the sample is CSV"):
        parse(changed(inputs__formats=["parquet"]))


def test_a_price_written_with_more_zeros_has_the_same_hash() -> None:
    assert parse(changed(tiers__0__price="2.000000")).digest() == PIVOT.digest()


def test_image_price_and_limit_change_the_hash() -> None:
    digests = {
        PIVOT.digest(),
        PIVOT.with_image(IMAGE).digest(),
        parse(changed(tiers__0__price="2.01")).digest(),
        parse(changed(limits__max_seconds=601)).digest(),
    }
    assert len(digests) == 4


def test_each_tier_is_an_offer_of_its_own() -> None:
    built = PIVOT.with_image(IMAGE)
    offers = [built.offer(tier.name) for tier in built.tiers]
    assert len({offer.id for offer in offers}) == 3
    assert offers[1].price == 4_000_000
    assert offers[1].product == PIVOT.limits.product.to_bytes()
    assert offers[1].application == application_digest(built.digest().hex(), IMAGE, "medium")
    assert (offers[1].quorum, offers[1].disputable) == (1, True)


def test_each_number_of_replicas_is_an_offer_of_its_own_at_its_multiple() -> None:
    built = parse(changed(replicas=[1, 3])).with_image(IMAGE)
    one, three = built.offer("small"), built.offer("small", 3)
    assert (three.price, three.max_cost, three.quorum) == (3 * one.price, 3 * one.max_cost, 2)
    assert (three.product, three.application) == (one.product, one.application)
    assert len({offer.id for _, _, offer in built.offers()}) == 6
    with pytest.raises(InvalidInput, match="is not sold with 2 replicas") as refused:
        built.offer("small", 2)
    assert refused.value.hint == "choose from: 1, 3"


def test_one_number_of_replicas_is_hashed_as_it_was_before_there_could_be_several() -> None:
    assert parse(changed(replicas=1)).to_json()["replicas"] == 1
    assert parse(changed(replicas=[1])).digest() == parse(changed(replicas=1)).digest()
    assert parse(changed(replicas=[3, 1])).to_json()["replicas"] == [3, 1]


def test_without_an_image_there_is_no_offer() -> None:
    with pytest.raises(ConfigurationError, match="has no image yet"):
        PIVOT.offer("small")


@pytest.mark.parametrize(
    ("units", "tier"), [(0, "small"), (1_000_000, "small"), (1_000_001, "medium"), (50_000_000, "large")]
)
def test_units_pick_the_smallest_tier_that_takes_them(units: int, tier: str) -> None:
    assert PIVOT.tier_for(units).name == tier


def test_above_every_tier_the_top_limit_is_named() -> None:
    with pytest.raises(AboveTier, match="50,000,001 rows are more than bundle pivot takes: 50,000,000"):
        PIVOT.tier_for(50_000_001)


def test_above_the_tier_that_was_asked_for_the_next_price_is_named() -> None:
    with pytest.raises(AboveTier) as refused:
        PIVOT.require_tier("small", 1_000_001)
    assert refused.value.hint == "tier medium takes 15,000,000 rows and costs $4.00"
    assert refused.value.values["next_price"] == "4.00"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tiers__0__price": "4000000"}, "tiers.0.price"),
        ({"tiers__0__price": 4.0}, "tiers.0.price"),
        ({"tiers__0__price": "0.00"}, "tiers.0"),
        ({"tiers__1__up_to": 10}, "tiers"),
        ({"tiers__1__name": "small"}, "tiers"),
        ({"tiers__1__unit": "pages"}, "tiers"),
        ({"image": "pivot:latest"}, "image"),
        ({"id": "Pivot"}, "id"),
        ({"version": "1.0"}, "version"),
        ({"command": []}, "command"),
        ({"limits__network": "host"}, "limits.network"),
        ({"limits__milli_vcpu": "2000"}, "limits.milli_vcpu"),
        ({"limits__gpu_count": 1}, "limits"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": []}, "replicas"),
        ({"replicas": [1, 1]}, "replicas"),
        ({"replicas": [1, 17]}, "replicas"),
        ({"replicas": True}, "replicas"),
        ({"rollout": 50}, "rollout"),
        ({"refunds": ["timeout"]}, "refunds"),
        ({"placement": "anywhere"}, "placement"),
        ({"colour": "blue"}, "colour"),
        ({"parameters__type": "array"}, "parameters"),
        ({"parameters__additionalProperties": True}, "parameters"),
        ({"parameters__properties__rows__type": "list"}, "parameters"),
        ({"parameters__properties__rows__items": {"$ref": "file:///etc/passwd"}}, "parameters"),
        ({"determinism": "canonical"}, "definition"),
        ({"determinism": "none"}, "definition"),
        ({"service_level": 10}, "definition"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(changed(**changes), "bundle.toml")
    assert refused.value.message.startswith(f"bundle.toml is not a bundle: {field}: ")


def test_a_file_that_is_not_there_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"bundle\.toml cannot be read"):
        load(tmp_path)
    (tmp_path / "bundle.toml").write_text("id = ")
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load(tmp_path)


def test_defaults_are_filled_in_so_that_the_manifest_says_everything() -> None:
    given = {"rows": ["a"], "values": [{"column": "x", "aggregates": ["sum"]}]}
    complete = PIVOT.validate_parameters(given)
    assert complete["delimiter"] == ","
    assert complete["average_decimals"] == 6
    assert PIVOT.validate_parameters(complete) == complete
    assert given == {"rows": ["a"], "values": [{"column": "x", "aggregates": ["sum"]}]}


@pytest.mark.parametrize(
    ("parameters", "place"),
    [
        ({"values": [{"column": "x", "aggregates": ["sum"]}]}, "parameters"),
        ({"rows": ["a"], "values": [{"column": "x", "aggregates": ["mode"]}]}, "values.0.aggregates.0"),
        ({"rows": "a", "values": [{"column": "x", "aggregates": ["sum"]}]}, "rows"),
        (
            {"rows": ["a"], "values": [{"column": "x", "aggregates": ["sum"]}], "types": {"x": "float"}},
            "types.x",
        ),
    ],
)
def test_wrong_parameters_are_refused_with_their_place(parameters: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        PIVOT.validate_parameters(parameters)
    assert refused.value.values["parameter"] == place


def test_a_whole_number_written_as_a_float_is_refused() -> None:
    given = {"rows": ["a"], "values": [{"column": "x", "aggregates": ["sum"]}], "average_decimals": 6.0}
    with pytest.raises(InvalidInput, match="floating-point"):
        PIVOT.validate_parameters(given)


@pytest.mark.parametrize("given", [None, 7, "rows", [("rows", ["a"])], {1: "a"}])
def test_parameters_that_are_no_mapping_of_names_are_refused_as_such(given: Any) -> None:
    with pytest.raises(InvalidInput, match="parameters are a mapping of names to values") as refused:
        PIVOT.validate_parameters(given)
    assert refused.value.code == "invalid-parameters"
