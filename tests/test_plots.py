"""Pictures, by the data of what they draw."""

import matplotlib.pyplot as plt
import numpy as np
from test_report import make_result

from mofn_jax import plots, report


def test_landscape_draws_a_curve_for_each_layer_and_kind_of_example():
    rows = [
        row
        for name in ("conv_0", "dense_0")
        for row in report.layer_rows(make_result()._replace(name=name))
    ]
    ax = plots.plot_landscape(rows)
    curves = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert len(curves) == 4
    for found, held_out in (curves[:2], curves[2:]):
        np.testing.assert_allclose(found.get_xdata(), [0.15, 0.15])
        np.testing.assert_allclose(found.get_ydata(), [0.2, 0.2])
        np.testing.assert_allclose(held_out.get_ydata(), [0.1, 0.1])
        assert (found.get_linestyle(), held_out.get_linestyle()) == ("-", "--")
        assert found.get_marker() == held_out.get_marker()
    assert curves[0].get_marker() != curves[2].get_marker()  # told apart without colour
    baselines = [line.get_ydata()[0] for line in ax.lines if list(line.get_xdata()) == [0]]
    np.testing.assert_allclose(baselines, [0.125, 0.125])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["conv_0", "dense_0", "on held-out examples", "constant rule"]
    assert ax.get_xlabel() == "mean complexity of the rules (0 to 1)"
    assert ax.get_ylabel() == "mean error (share of examples)"
    plt.close(ax.figure)


def test_landscape_draws_on_the_axes_it_is_given():
    figure, ax = plt.subplots()
    assert plots.plot_landscape(report.layer_rows(make_result()), ax=ax) is ax
    plt.close(figure)
