"""Two engines, one after the other; the trace goes through both."""

from tracing import trace

from penstock import Engine

billing = Engine("orders", ["invoices"], "billing", config="queues.yml", middleware=[trace])
mailing = Engine("invoices", app_name="mailing", config="queues.yml", middleware=[trace])


@billing.stream_app
def bill(order: dict[str, int]) -> tuple[str, dict[str, int]]:
    return ("invoices", {"order": order["id"], "cents": order["cents"]})


@mailing.stream_app
async def mail(invoice: dict[str, int]) -> None:
    print(f"invoice of order {invoice['order']}: {invoice['cents']} cents")
