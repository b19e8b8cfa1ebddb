"""A page of gradio's, served until Ctrl-C, and to nobody but those who are asked for."""

from typing import Any

from shared.errors import CourseError


def serve(page: Any, host: str, port: int, largest: str, css: str | None = None) -> dict[str, str]:
    """Serves a page. Nothing goes elsewhere: no link to share it, no statistics, no account of who came.

    Args:
        page: gradio's Blocks.
        host: 127.0.0.1: this machine alone.
        port: where it listens; 0: at a free place.
        largest: of a file that a visitor gives, as "25mb".
        css: of the page.

    Returns:
        {"address"}: where it was.

    Raises:
        CourseError: something else listens there.
    """
    try:
        _, address, _ = page.queue(default_concurrency_limit=2, max_size=32).launch(
            server_name=host, server_port=port or None, share=False, quiet=True, prevent_thread_lock=True,
            max_file_size=largest, footer_links=[], show_error=False, ssr_mode=False, enable_monitoring=False, css=css,
        )  # fmt: skip
    except OSError:
        raise CourseError(f"--port {port}: something else listens there. Take another one, or 0.") from None
    print(f"open {address}   (Ctrl-C ends it)", flush=True)
    try:
        page.block_thread()
    finally:
        page.close(verbose=False)
    return {"address": address}
