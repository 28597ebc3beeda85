"""What travels between the two workers."""

from pydantic import BaseModel


class InputMessage(BaseModel):
    """A list of numbers to find the largest of."""

    my_values: list[float]


class OutputMessage(BaseModel):
    """The largest of a list."""

    the_max: float
