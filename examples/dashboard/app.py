"""An engine to look at, and a route of its own."""

from penstock import Engine
from penstock.routes import Report, Response

app = Engine("orders", ["invoices"], "billing", config="queues.yml")
total = 0


@app.stream_app
def bill(order: dict[str, int]) -> tuple[str, dict[str, int]]:
    global total
    total += order["cents"]
    return ("invoices", {"order": order["id"], "cents": order["cents"]})


@app.route("/billed")
def billed(_report: Report) -> Response:
    return Response(f"{total}\n".encode())
