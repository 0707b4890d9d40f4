"""The formulas behind every figure: metrics, intervals, tests and regression.

In: arrays of labels and scores. Out: numbers with intervals.
May import: `model.errors`. scikit-learn and scipy (the extra `evaluate`) are known here, not in serving.
"""
