"""One module for each peer, with a function of the same name for each row the peer can run.

``row(n)`` does the row's work ``n`` times, and gives nothing (the caller takes the time) or, where
time is not what the row measures, the figure itself. ``run(main, *args, workers=...)`` starts the
peer's scheduler. What is compared are these texts, so each uses what its peer's documentation would.
"""
