"""The peers: a module for each, with the rows that it has as functions of how often, and `run`.

What is started is kept from one round to the next, so only the row ``startup`` measures that. All use the
same interpreter and begin processes afresh ("spawn"), as places do.
"""
