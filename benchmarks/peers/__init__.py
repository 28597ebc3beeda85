"""The same work under other frameworks, each in an environment of its own, written as its documentation shows.

None of them says when an input is settled, so the clock stops when the last call of the function returns.
"""
