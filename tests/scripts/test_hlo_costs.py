"""What a compiled program costs, read from a compiler's text."""

import math

import pytest

from experiments import hlo_costs

TEXT = """
HloModule jit_f, is_scheduled=true

%fused (p0: s32[100], p1: s32[8,2]) -> s32[8,2] {
  %p0 = s32[100]{0} parameter(0)
  %p1 = s32[8,2]{1,0} parameter(1)
  ROOT %gather.1 = s32[8,2]{1,0:T(8,128)} gather(%p0, %p1), offset_dims={}, slice_sizes={1}
}

%body (arg: (s32[], s32[8,2])) -> (s32[], s32[8,2]) {
  %table = s32[100]{0} get-tuple-element(%arg), index=1
  %looked = s32[8,2]{1,0} fusion(%table, %table), kind=kCustom, calls=%fused
  %sum = s32[8,2]{1,0} fusion(%looked), kind=kLoop, calls=%other, \
backend_config={"window_config":{"estimated_cycles":"50"}}
  %put = s32[100]{0} scatter(%table, %looked, %sum), update_window_dims={1}, to_apply=%other
}

%other (p: s32[8,2]) -> s32[8,2] {
  ROOT %n = s32[8,2]{1,0} negate(%p), backend_config={"estimated_cycles":"7"}
}

%condition (arg: (s32[], s32[8,2])) -> pred[] {
  %limit = s32[] constant(4)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

ENTRY %main (x: s32[8,2]) -> s32[8,2] {
  %x = s32[8,2]{1,0} parameter(0), backend_config={"estimated_cycles":"1000"}
  %sort.1 = (f32[3,1000]{1,0}, s32[3,1000]{1,0}) sort(%x, %x), dimensions={1}, to_apply=%other
  ROOT %loop = (s32[], s32[8,2]) while(%x), condition=%condition, body=%body
}
"""


def test_loops_multiply_and_look_ups_are_counted():
    costs = hlo_costs.costs(TEXT)
    assert costs.loops == ("4",)
    assert costs.cycles == 1000 + 4 * 50  # what is inside of a fusion is in its own estimate
    assert costs.gathered == 4 * 16
    assert costs.looked_up == 4 * 16 * 4  # bytes
    assert costs.scattered == 4 * 8  # slices
    assert costs.sorting == 4 * math.ceil(3 * 1024 / 1024) * 2 * 10 * 11 / 2
    bytes_per_cycle = 819 / 1.5
    rest = 256 / bytes_per_cycle + costs.sorting
    assert costs.all_cycles == pytest.approx(1200 + 8 * 64 + 10 * 32 + rest)


def test_what_the_compiler_says_of_a_loop_counts_first():
    text = TEXT.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"9"}}')
    assert hlo_costs.costs(text).cycles == 1000 + 9 * 50


@pytest.mark.parametrize("change", [("direction=LT", "direction=GT"), ("constant(4)", "add(%a)")])
def test_a_loop_of_unknown_length_leaves_the_whole_unknown(change):
    costs = hlo_costs.costs(TEXT.replace(*change))
    assert costs.loops == ("?",)
    assert math.isnan(costs.all_cycles)


def test_a_loop_of_unknown_length_goes_round_as_often_as_was_counted():
    text = TEXT.replace("direction=LT", "direction=GT").replace(
        "body=%body", 'body=%body, metadata={op_name="jit(f)/steps/while"}'
    )
    assert hlo_costs.costs(text, {"jit(f)/steps/while": 2.5}.get).cycles == 1000 + 2.5 * 50
    assert hlo_costs.costs(text, {"jit(f)/while": 2.5}.get).loops == ("?",)


def test_of_branches_the_longest_counts():
    call = "conditional(%x), branch_computations={%other, %body}"
    text = TEXT.replace("while(%x), condition=%condition, body=%body", call)
    assert hlo_costs.costs(text).cycles == 1000 + 50
