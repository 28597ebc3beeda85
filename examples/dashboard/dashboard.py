"""A dashboard for a terminal: python dashboard.py URL [ROUNDS]"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen


def rows(report: dict[str, Any]) -> Iterator[str]:
    yield f"{'ready' if report['ready'] else 'NOT READY'}, alive: {report['alive']}, process {report['pid']}"
    for engine in report["engines"]:
        metrics = engine["metrics"]
        settled = {outcome: n for outcome, n in metrics["penstock_messages_settled_total"].items() if n}
        waiting = metrics.get("penstock_lag_messages", "?")
        source, targets = engine["input_queue"], [queue["name"] for queue in engine["output_queues"]]
        yield f"{engine['name']}: {source['name']} ({source['connector']}) -> {', '.join(targets)}"
        yield f"    {settled}, {metrics['penstock_messages_in_flight']} in flight, {waiting} waiting"
    for name, component in report["components"].items():
        if component["state"] != "ok":
            yield f"    {name} is {component['state']}: {component['reason']}"


if __name__ == "__main__":
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000):
        with urlopen(sys.argv[1]) as response:
            print("\n".join(rows(json.load(response))), flush=True)
        time.sleep(1)
