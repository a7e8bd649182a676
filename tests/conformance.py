"""Suites that every implementation of an interface passes, ours and the fakes: inherit and give a fixture."""

import pytest

from packager.digest import digest
from packager.store import Publication, Store
from schemas.errors import ConflictError

NAME = "news/0/v0/25600.m4s"


class StoreConformance:
    """Give a fixture ``store`` with an empty one."""

    def test_an_object_can_be_got_as_it_was_put(self, store: Store) -> None:
        assert store.create_if_absent(NAME, [b"ab", b"", b"cd"]) is Publication.CREATED
        assert store.get(NAME) == b"abcd"

    def test_equal_bytes_are_a_success_however_they_are_split(self, store: Store) -> None:
        store.create_if_absent(NAME, [b"abcd"])
        assert store.create_if_absent(NAME, [b"a", b"bcd"]) is Publication.EXISTED

    @pytest.mark.parametrize("other", [b"abce", b"abc", b"abcde", b""])
    def test_other_bytes_are_refused_and_change_nothing(self, store: Store, other: bytes) -> None:
        store.create_if_absent(NAME, [b"abcd"])
        with pytest.raises(ConflictError, match=NAME) as refusal:
            store.create_if_absent(NAME, [other])
        assert (refusal.value.held, refusal.value.offered) == (digest([b"abcd"]).hex(), digest([other]).hex())
        assert store.get(NAME) == b"abcd"

    def test_a_range_is_what_lies_in_it(self, store: Store) -> None:
        store.create_if_absent(NAME, [b"abcdef"])
        assert [store.range(NAME, 2, 3), store.range(NAME, 4, 9), store.range(NAME, 9, 1)] == [b"cde", b"ef", b""]

    def test_names_are_listed_in_order_by_prefix(self, store: Store) -> None:
        for name in ("b/0/v0/1.m4s", "a/0/v0/2.m4s", "a/0/v0/1.part.m4s"):
            store.create_if_absent(name, [b"x"])
        assert list(store.list("a/0/")) == ["a/0/v0/1.part.m4s", "a/0/v0/2.m4s"]
        assert len(list(store.list())) == 3

    def test_what_is_deleted_is_gone(self, store: Store) -> None:
        store.create_if_absent(NAME, [b"x"])
        assert [store.delete(NAME), store.delete(NAME)] == [True, False]
        assert list(store.list()) == []

    def test_what_never_was_is_a_key_error(self, store: Store) -> None:
        with pytest.raises(KeyError):
            store.get(NAME)
        with pytest.raises(KeyError):
            store.range(NAME, 0, 1)
