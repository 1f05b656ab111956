"""`bulkedit emulate`: a local HealthImaging for any AWS SDK or the AWS CLI."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from bulkedit._concurrency import run_blocking
from bulkedit._printable import printable, printable_json, shell_word
from bulkedit._words import plural
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import typer

    from bulkedit.cli._parameters import EmulateCommand
    from bulkedit.emulator import Credentials, Emulator, Fault, ServiceProfile, Settings

_SHOWN_REASONS: Final = 5  # for files that were skipped


def emulate(options: EmulateCommand, context: typer.Context) -> None:
    """Run `bulkedit emulate`."""
    from bulkedit.emulator import CompletionTime, Settings

    try:
        settings = Settings(
            profile=_profile(options.service_version, options.switch or []),
            completion_time=CompletionTime(
                seconds=options.completion_time,
                sigma=options.completion_sigma,
                seconds_per_mb=options.completion_per_mb,
            ),
            scale=options.scale if not math.isnan(options.scale) else 0.0,
            seed=options.seed,
            faults=_faults(options.fault or []),
            credentials=_credentials(options.access_key, options.secret_key),
            allowed_hosts=tuple(options.allow_host or ()),
            state=options.state,
            import_roots=tuple(options.import_root or options.imports or ()),
        )
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    _warn(settings, options.host, secret_shown=_is_on_command_line(context, "secret_key"))
    asyncio.run(_serve(settings, options))


def _warn(settings: Settings, host: str, *, secret_shown: bool) -> None:
    """Warn if other users or machines can reach the emulator or see its secret key."""
    from bulkedit.emulator.http.gate import is_loopback

    if secret_shown:
        _message("Warning: other users of this machine can see --secret-key in the list of processes.")
        _message("Set BULKEDIT_EMULATE_SECRET_KEY instead.")
    if is_loopback(host):
        return
    _message(f"Warning: anyone who can reach {host} can use this emulator and read its data.")
    if settings.credentials is None:
        _message("To require a key: --access-key and --secret-key.")
    if not settings.allowed_hosts:
        _message("It accepts requests to localhost and this machine's addresses. To add a name: --allow-host NAME.")


def _is_on_command_line(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _profile(service_version: str, switches: list[str]) -> ServiceProfile:
    from bulkedit.emulator import profile

    changes: dict[str, str | int] = {}
    for text in switches:
        name, separator, choice = text.partition("=")
        if not separator:
            raise UsageError("--switch must be NAME=CHOICE.", hint="For example: --switch stale_version=conflict")
        changes[name] = int(choice) if choice.isdecimal() else choice
    return profile(service_version, **changes)


def _faults(texts: list[str]) -> tuple[Fault, ...]:
    from bulkedit.emulator import fault

    return tuple(map(fault, texts))


def _credentials(access_key: str | None, secret_key: str | None) -> Credentials | None:
    from bulkedit.emulator import Credentials

    if bool(access_key) != bool(secret_key):
        raise UsageError("--access-key and --secret-key must be given together.")
    return Credentials(access_key, secret_key) if access_key and secret_key else None


async def _serve(settings: Settings, options: EmulateCommand) -> None:
    from bulkedit.emulator import serve_async

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        try:
            emulator = await stack.enter_async_context(serve_async(settings, host=options.host, port=options.port))
        except OSError as error:
            hint = "Another process may use it. To use any free port: --port 0"
            raise UsageError(
                f"cannot listen on port {options.port} of {options.host}: {error.strerror}.", hint=hint
            ) from None
        if emulator.server.state and emulator.server.state.was_open_to_others:
            _message(f"Other users could read {settings.state}; now only its owner can.")
        await _import(emulator, options.imports or [], demo=options.demo)
        _announce(emulator, as_json=options.as_json)
        await stop.wait()
        _message("Stopped.")


async def _import(emulator: Emulator, folders: list[Path], *, demo: bool) -> None:
    from bulkedit.emulator.dicom_import.importer import demo_files, read_folder

    known = emulator.do(lambda world: len(world.datastores[emulator.datastore_id].image_sets))
    if (folders or demo) and known:
        _message("The state file has image sets already; nothing was imported.")
        return
    if demo:
        with demo_files() as folder:
            imported = await run_blocking(read_folder, folder)
        for image_set in imported.image_sets:
            emulator.add(image_set.document)
        _message(f"Imported {plural(len(imported.image_sets), 'image set')} of the demo.")
    for folder in folders:
        imported = await run_blocking(read_folder, folder)
        for image_set in imported.image_sets:
            emulator.add(image_set.document)
        skipped = f", {plural(len(imported.skipped), 'file')} skipped" if imported.skipped else ""
        _message(f"Imported {plural(len(imported.image_sets), 'image set')} from {folder}{skipped}.")
        for reason, count in Counter(reason for _, reason in imported.skipped).most_common(_SHOWN_REASONS):
            first = next(path for path, why in imported.skipped if why == reason)
            _message(f"  {plural(count, 'file')}, such as {first}: {reason}")


def _announce(emulator: Emulator, *, as_json: bool) -> None:
    environment = emulator.environment()
    if emulator.server.settings.credentials:
        del environment["AWS_SECRET_ACCESS_KEY"]  # the caller has it, and this text may end up in a log
    if as_json:
        line = {"type": "emulator", "url": emulator.url, "datastore": emulator.datastore_id, "environment": environment}
        _data(json.dumps(line))
        return
    _data(emulator.url)
    _message("To use it, in another terminal:")
    for name, value in environment.items():
        _message(f"  export {name}={shell_word(value)}")
    if "AWS_SECRET_ACCESS_KEY" not in environment:
        _message("and AWS_SECRET_ACCESS_KEY, with the value of --secret-key.")
    _message(f"Data store: {emulator.datastore_id}. Ctrl-C stops the emulator.")


def _data(line: str) -> None:
    sys.stdout.write(printable_json(line) + "\n")
    sys.stdout.flush()


def _message(line: str) -> None:
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()
