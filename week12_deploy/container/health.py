"""The container's health check: exits with 0 where `path` (default /health) of this machine's `port` answers 200.

Standard library only, and quick: Docker starts it every half minute.
"""

import http.client
import sys


def main(port: str = "8000", path: str = "/health") -> int:
    """Returns the exit code."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=4)
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"port {port} does not answer: {error}")
        return 1
    print(f"port {port}{path}: {status}")
    return int(status != 200)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
