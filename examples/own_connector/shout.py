"""Writes words in capitals, from one folder into another."""

from pydantic import BaseModel

from penstock import Engine


class Word(BaseModel):
    """Something to say."""

    word: str


app = Engine(
    app_name="shout",
    input_queue="words",
    output_queues=["shouted"],
    dead_letter_queue="rejects",
    config="queues.yml",
)


@app.stream_app
def shout(word: Word) -> tuple[str, Word]:
    return "shouted", Word(word=word.word.upper())
