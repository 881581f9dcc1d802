"""serve: the screens in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.context import Context, Json, examples, workspace_of
from workbench.console import note, print_json, say


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command(epilog=examples("serve", "serve --port 8001", "--workspace ~/work serve --port 0 --json"))(serve)


def serve(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for one that is free.")] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    expose: Annotated[bool, typer.Option("--expose", help="Let other machines in. Nothing is encrypted.")] = False,
    json: Json = False,
) -> None:
    """Show the same screens in a browser, on this machine's own address, until Ctrl-C.

    The address has a key in it, since every user of the machine can reach the port. From another machine forward it:
    ssh -L 8000:127.0.0.1:8000 HOST, then open the address here. Every tab has screens of its own; runs go on when they
    are closed. With --json, {"url", "host", "port"} is printed once it listens.
    """
    from workbench.tui.access import Access, new_key
    from workbench.tui.serve import address, check_installed, listen
    from workbench.tui.serve import serve as run

    options: Context = context.obj
    workspace = workspace_of(context)
    check_installed()
    key = new_key()
    with listen(host, port, exposed=expose) as listening:
        url = address(listening, key)
        if json:
            print_json({"url": url, "host": host, "port": listening.getsockname()[1]})
        else:
            say(f"Open {url}")
            note("Ctrl-C ends it. Whoever has this address has your screens.")
        run(workspace, listening, Access(key, host, expose), slow=options.slow)
