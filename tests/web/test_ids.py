from random import Random
from uuid import RFC_4122, UUID

from trio_gateway.web.ids import Ids


def test_ids_are_random_uuids_and_none_comes_twice() -> None:
    new_id = Ids()
    made = [new_id() for _ in range(1000)]

    assert len(set(made)) == len(made)
    for text in made:
        uuid = UUID(text)
        assert str(uuid) == text
        assert (uuid.version, uuid.variant) == (4, RFC_4122)


def test_every_random_bit_of_an_id_is_used() -> None:
    new_id = Ids(Random(1).randbytes)
    always, never = (1 << 128) - 1, 0
    for _ in range(1000):
        value = UUID(new_id()).int
        always &= value
        never |= value

    fixed = ~(never ^ always) & ((1 << 128) - 1)
    assert fixed.bit_count() == 6  # the version and the variant


def test_another_source_makes_other_ids() -> None:
    assert Ids(Random(1).randbytes)() != Ids(Random(2).randbytes)()
