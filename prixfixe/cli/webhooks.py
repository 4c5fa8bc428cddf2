"""`prixfixe webhooks`: servers of yours that are told what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from prixfixe.cli.options import chosen_context, context_option, json_option, key_option, open_client
from prixfixe.cli.output import clean, emit, moment, say, table

if TYPE_CHECKING:
    from pydantic import BaseModel

    from prixfixe.client import Client
    from prixfixe.protocol import webhooks as wire

    M = TypeVar("M", bound=BaseModel)

_PAGE = 100  # deliveries


@click.group()
def webhooks() -> None:
    """Have servers of yours told of jobs, top-ups and low balances.

    Of the account of your key: the managed account whose API key you use (it needs the scope `manage`), or
    your wallet's address. Messages are signed as Standard Webhooks say; a receiver is in
    docs/howto/webhooks.md.

    \b
    Examples:
      prixfixe webhooks add https://example.com/prixfixe --event job.settled
      prixfixe webhooks test 3f2a...
      prixfixe webhooks replay 3f2a... --since 2026-11-20
    """


@webhooks.command()
@click.argument("url")
@click.option("--event", "events", multiple=True, metavar="TYPE", help="Only this type; several times.")
@click.option("--description", default="", help="For yourself.")
@context_option
@key_option
@json_option
def add(
    url: str,
    events: tuple[str, ...],
    description: str,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Tell URL of news from now on; its secret is printed this once.

    The types: job.queued, job.running, job.settled, job.refunded, account.topped_up, account.low_balance.

    \b
    Example:
      prixfixe webhooks add https://example.com/prixfixe --event job.settled --event job.refunded
    """
    from prixfixe.protocol import webhooks as wire

    body: dict[str, Any] = {"url": url, "description": description}
    if events:
        body["events"] = list(events)
    with open_client(chosen_context(context_name, key)) as client:
        made = _ask(client, wire.NewEndpoint, "POST", "", body)
    _show_new(made, as_json)


@webhooks.command("list")
@click.argument("endpoint", required=False)
@context_option
@key_option
@json_option
def list_(endpoint: str | None, context_name: str | None, key: str | None, as_json: bool) -> None:
    """List your webhooks, or what ENDPOINT was told and is to be told, newest first."""
    from prixfixe.protocol import webhooks as wire

    with open_client(chosen_context(context_name, key)) as client:
        path = "" if endpoint is None else f"/{_checked(endpoint)}/deliveries"
        query = {} if endpoint is None else {"limit": str(_PAGE)}
        items = _send(client, "GET", path, None, query)["items"]
    if as_json:
        emit({"items": items})
        return
    if endpoint is None:
        found = [wire.Endpoint.model_validate(each) for each in items]
        rows = [(each.id, clean(each.url), " ".join(each.events or ("all",)), _state(each)) for each in found]
        click.echo(table(rows, ("id", "url", "events", "state")) if rows else "there are no webhooks")
        return
    told = [wire.Delivery.model_validate(each) for each in items]
    lines = [
        (each.message, each.type, moment(each.created_at), each.state, str(each.attempts), clean(each.error))
        for each in told
    ]
    head = ("message", "type", "made", "state", "attempts", "last error")
    click.echo(table(lines, head) if lines else "nothing was to be told yet")


@webhooks.command()
@click.argument("endpoint")
@context_option
@key_option
@json_option
def remove(endpoint: str, context_name: str | None, key: str | None, as_json: bool) -> None:
    """Tell ENDPOINT nothing any more; what waits for it is dropped."""
    with open_client(chosen_context(context_name, key)) as client:
        _send(client, "DELETE", f"/{_checked(endpoint)}")
    emit({"removed": endpoint}) if as_json else click.echo("removed")


@webhooks.command()
@click.argument("endpoint")
@context_option
@key_option
@json_option
def enable(endpoint: str, context_name: str | None, key: str | None, as_json: bool) -> None:
    """Go on with ENDPOINT after it was given up; what waits for it goes out."""
    from prixfixe.protocol import webhooks as wire

    with open_client(chosen_context(context_name, key)) as client:
        found = _ask(client, wire.Endpoint, "PATCH", f"/{_checked(endpoint)}", {"enabled": True})
    emit(found.model_dump(mode="json")) if as_json else click.echo("enabled")


@webhooks.command()
@click.argument("endpoint")
@context_option
@key_option
@json_option
def test(endpoint: str, context_name: str | None, key: str | None, as_json: bool) -> None:
    """Send ENDPOINT a message that says only that it is a test."""
    from prixfixe.protocol import webhooks as wire

    with open_client(chosen_context(context_name, key)) as client:
        sent = _ask(client, wire.Delivery, "POST", f"/{_checked(endpoint)}/test")
    if as_json:
        emit(sent.model_dump(mode="json"))
        return
    click.echo(f"{sent.message} is on its way")
    say(f"`prixfixe webhooks list {endpoint}` shows whether it arrived")


@webhooks.command()
@click.argument("endpoint")
@click.option("--message", metavar="ID", help="This one.")
@click.option("--since", type=click.DateTime(), help="All since this moment, UTC.")
@context_option
@key_option
@json_option
def replay(
    endpoint: str,
    message: str | None,
    since: Any,
    context_name: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Send ENDPOINT a message again, or all since a time, of the last thirty days."""
    from datetime import UTC

    from prixfixe.protocol import webhooks as wire

    if (message is None) == (since is None):
        raise click.UsageError("give either --message or --since")
    body = {"message": message} if since is None else {"since": int(since.replace(tzinfo=UTC).timestamp())}
    with open_client(chosen_context(context_name, key)) as client:
        found = _ask(client, wire.Replayed, "POST", f"/{_checked(endpoint)}/replay", body)
    emit(found.model_dump(mode="json")) if as_json else click.echo(f"{found.count} messages go out again")


@webhooks.command()
@click.argument("endpoint")
@context_option
@key_option
@json_option
def rotate(endpoint: str, context_name: str | None, key: str | None, as_json: bool) -> None:
    """Give ENDPOINT another secret, printed this once; for a day messages are signed with both."""
    from prixfixe.protocol import webhooks as wire

    with open_client(chosen_context(context_name, key)) as client:
        made = _ask(client, wire.NewEndpoint, "POST", f"/{_checked(endpoint)}/rotate")
    _show_new(made, as_json)


def _show_new(made: wire.NewEndpoint, as_json: bool) -> None:
    if as_json:
        emit(made.model_dump(mode="json"))
        return
    click.echo(table([("id", made.endpoint.id), ("secret", made.secret)]))
    say("the secret is not shown again; give it to the receiver and to nobody else")


def _state(endpoint: wire.Endpoint) -> str:
    if endpoint.state == "disabled":
        return f"disabled: {clean(endpoint.reason)}"
    if endpoint.failing_since is not None:
        return f"failing since {moment(endpoint.failing_since)}"
    return "enabled"


def _checked(endpoint: str) -> str:
    """The endpoint as a path has it; InvalidInput for what cannot be one's id."""
    import re

    from prixfixe.errors import InvalidInput

    if not re.fullmatch(r"[0-9a-f]{32}", endpoint):
        raise InvalidInput(
            f"{endpoint!r} is no webhook's id", hint="`prixfixe webhooks list` shows yours, with their ids"
        )
    return endpoint


def _ask(client: Client, model: type[M], method: str, path: str, body: Any = None) -> M:
    return model.model_validate(_send(client, method, path, body))


def _send(
    client: Client, method: str, path: str, body: Any = None, query: dict[str, str] | None = None
) -> Any:
    """The answer of `/v1/webhooks`; what makes something new is not sent twice."""
    from prixfixe.client.calls import Request

    request = Request(
        method,
        "/v1/webhooks" + path,
        query=query or {},
        body=body,
        repeatable=method in ("GET", "DELETE", "PATCH"),
    )
    answer = client.perform(client.operations.send_signed_in(request))
    return answer.json() if method != "DELETE" else None
