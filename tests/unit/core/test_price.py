"""The price of a pool: as low as the load fits, kept while it is neither too small nor needlessly large."""

import pytest

from streams.core.length import Terms
from streams.core.price import SLACK, Line, settle_price

# Joins that would have segments of one GOP while capacity costs nothing more.
CROWD = Line(terms=Terms(packaging=0.004, serving=0.002, waiting=0.006), gop_s=1.0, least=1, most=4)
# One that would have two.
FEW = Line(terms=Terms(packaging=0.004, serving=0.002, waiting=0.0015), gop_s=1.0, least=2, most=4)


def priced(*lines: Line, room: float, before: float = 1.0, load: float = 1.0) -> float:
    return settle_price(before, lines, load=load, room=room)


def gops(line: Line, price: float) -> int:
    even = line.terms.at(price)
    return min(range(line.least, line.most + 1), key=lambda count: (even.cost(count * line.gop_s), -count))


def saved(line: Line, price: float) -> float:
    return line.terms.packaging / line.gop_s * (1 / line.least - 1 / gops(line, price))


def test_a_load_that_fits_costs_nothing_more() -> None:
    assert priced(CROWD, room=1.0 / SLACK) == 1.0


@pytest.mark.parametrize("excess", [0.0005, 0.001, 0.002, 0.0025, 0.0028])
def test_at_the_price_the_load_fits_and_at_the_one_below_it_does_not(excess: float) -> None:
    price = priced(CROWD, FEW, room=1.0 - excess)
    assert saved(CROWD, price) + saved(FEW, price) >= excess - 1e-12
    assert saved(CROWD, price / 2**0.5) + saved(FEW, price / 2**0.5) < excess


def test_those_whom_it_matters_least_are_lengthened_first() -> None:
    price = priced(CROWD, FEW, room=0.9995)
    assert (gops(CROWD, price), gops(FEW, price)) == (1, 3)


def test_where_nothing_can_be_lengthened_the_price_does_not_rise() -> None:
    assert priced(room=0.1) == 1.0
    assert priced(CROWD, room=0.1) == priced(CROWD, room=0.01)


def test_a_load_that_trembles_changes_no_price() -> None:
    price = priced(CROWD, FEW, room=0.998)
    trembling = [priced(CROWD, FEW, room=0.998, before=price, load=1.0 + noise) for noise in (0.0, -0.01, -0.05, 0.0, -0.09)]
    assert trembling == [price] * 5


def test_the_price_falls_when_the_load_would_fit_with_room_to_spare() -> None:
    assert priced(CROWD, room=1.0, before=8.0, load=0.8) == 1.0
