"""First figures: ratios with medians, two ways interleaved in one run; never part of the tests."""
