"""Ask for workflows from a Python program, and wait for them."""

from __future__ import annotations

from hybrid_engine import Client
from hybrid_engine.errors import InputError


def main() -> None:
    client = Client()  # the home: HYBRID_HOME, else the current folder

    # One workflow. The id is durable when enqueue returns; nothing can lose the job from here on.
    workflow = client.enqueue("square", {"number": 7}, labels={"from": "program"})
    print("one:", client.wait(workflow, timeout=60), client.get(workflow)["steps"]["square"]["output"])

    # Many: one file and one sync for all of them.
    ids = client.enqueue_many({"template": "square", "params": {"number": n}} for n in range(100))
    statuses = client.wait(ids, timeout=60)
    total = sum(client.get(workflow)["steps"]["square"]["output"]["square"] for workflow in ids)
    print("many:", len(statuses), set(statuses.values()), total)

    # The same key is the same workflow.
    print(
        "keyed:", client.enqueue("square", {"number": 1}, key="a") == client.enqueue("square", {"number": 1}, key="a")
    )

    # What cannot work is said at once, and nothing is enqueued.
    try:
        client.enqueue("square", {"number": "seven"})
    except InputError as error:
        print("refused:", error)

    # What fails is told by its status.
    failed = client.enqueue("square", {"number": -1})
    print("failed:", client.wait(failed, timeout=60), "-", client.get(failed)["error"]["message"])


if __name__ == "__main__":
    main()
