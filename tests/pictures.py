"""What tests of pictures share."""

from __future__ import annotations

import numpy as np

from lvmfast import plot


def drawn_on(call, panels=1):
    """What ``call(ax=None)`` returns, after the same call on given axes; neither opens a window."""
    from matplotlib import pyplot

    shape = (panels, 1) if np.ndim(panels) == 0 else panels
    figure, axes = plot.new_figure((6, 5), *shape)
    given = call(ax=axes)
    assert given.figure is figure
    assert {ax for ax in np.ravel(given.axes) if ax is not None} <= set(np.ravel(axes))
    artist = call(ax=None)
    assert artist.figure is not figure
    artist.figure.canvas.draw()
    assert all(ax is None or ax.figure is artist.figure for ax in np.ravel(artist.axes))
    assert pyplot.get_fignums() == []
    return artist
