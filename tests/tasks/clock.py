"""A box that says what time it is, and lives on."""

import time

if __name__ == "__main__":
    print(time.time(), flush=True)  # noqa: T201
    while True:
        time.sleep(1)
