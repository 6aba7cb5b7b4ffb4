"""Work beside each other on one core each: in order, without a trace, and the same whatever their number."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from understudy.pipeline.separation.lanes import in_lanes


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_and_threads_are_as_before(threads: int) -> None:
    assert in_lanes(lambda number: number**2, range(50)) == [number**2 for number in range(50)]
    assert torch.get_num_threads() == threads
    seen: list[int] = []
    other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert seen == [threads]


def test_every_lane_has_one_core_and_infers(threads: int) -> None:
    def looked(_: int) -> tuple[int, bool]:
        return torch.get_num_threads(), torch.is_inference_mode_enabled()

    assert set(in_lanes(looked, range(20))) == {(1, True)}
    assert not torch.is_inference_mode_enabled()


def test_sums_do_not_depend_on_the_number_of_lanes() -> None:
    values = torch.randn(40, 300, 300, generator=torch.Generator().manual_seed(0)).bfloat16()
    before, found = torch.get_num_threads(), []
    for count in (1, 2, 4):
        torch.set_num_threads(count)
        found.append(torch.stack(in_lanes(lambda matrix: (matrix @ matrix).float().sum(0), values)))
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_what_goes_wrong_is_raised_when_all_is_quiet(threads: int) -> None:
    working = set[int]()

    def failing(number: int) -> None:
        working.add(number)
        try:
            if number == 3:
                raise RuntimeError("can't allocate memory")
        finally:
            working.discard(number)

    with pytest.raises(RuntimeError, match="allocate"):
        in_lanes(failing, range(30))
    assert not working
    assert in_lanes(str, [1]) == ["1"]
