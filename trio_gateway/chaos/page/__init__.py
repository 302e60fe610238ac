"""A simulation as one page for a browser: a verdict, timelines, tables, waterfalls.

From a run to the page:

    filling        a run made into `values`
    document       the page itself, of:
        timelines      pictures on one axis of time, with `strips` of states
        tables         expectations, targets, changes
        waterfalls     the slowest requests
    plots          pictures as SVG, by `scales`
    words          numbers, rounded so that they never flatter
"""
