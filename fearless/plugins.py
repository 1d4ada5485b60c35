"""One loader for every plugin: built-ins, installed distributions and the team's `plugins/*.py`."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from fearless import hookspecs, interfaces, source
from fearless.errors import ConfigError, suggest

GROUP = "fearless"
BUILT_IN = ("fearless.builtin.catalogue", "fearless.local.catalogue")

SLOTS: Mapping[str, tuple[str, type]] = {
    "cloud": ("clouds", interfaces.Cloud),
    "container": ("container_builders", interfaces.ContainerBuilder),
    "registry": ("registries", interfaces.Registry),
    "ami": ("ami_bakers", interfaces.AmiBaker),
    "stack": ("provisioners", interfaces.Provisioner),
    "data": ("data_stores", interfaces.DataStore),
    "engine": ("copy_engines", interfaces.CopyEngine),
    "dns": ("dns_providers", interfaces.DnsProvider),
    "deploy": ("deployers", interfaces.Deployer),
    "secrets": ("secret_stores", interfaces.SecretStore),
}
"""Each slot's table in release.toml, with its hook and the Protocol its provider follows."""

LISTS: Mapping[str, type] = {
    "gates": interfaces.Gate,
    "transforms": interfaces.Transform,
    "tasks": dict,
}
"""Hooks that answer with a list (any iterable, a generator too), and what is in it."""

DICTS = frozenset({"template_vars", *(hook for hook, _ in SLOTS.values())})
"""Hooks that answer with a dict whose keys are strings."""


@dataclass(frozen=True)
class Offer:
    """A provider some plugin offers for a slot; `origin` says which plugin, as a user knows it."""

    name: str
    provider: type
    origin: str


class Plugins:
    """The plugins of one project. Belongs to a Project: no globals, so tests may have many."""

    def __init__(self, root: Path | None, extra: Iterable[object] = ()) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self._origins: dict[int, str] = {}
        for name in BUILT_IN:
            self._register(importlib.import_module(name), f"built-in {name}")
        for plugin in extra:
            self._register(plugin, f"plugin {getattr(plugin, '__name__', plugin)!r}")
        self._load_installed()
        if root is not None:
            self._load_folder(root / "plugins")

    @property
    def hook(self) -> Any:
        """The hooks, as pluggy calls them."""
        return self.manager.hook

    def origins(self) -> list[str]:
        """Where every loaded plugin comes from, in the order they were loaded."""
        return list(self._origins.values())

    def offers(self, slot: str) -> dict[str, Offer]:
        """Every provider offered for a slot, by name. A name offered twice is a ConfigError."""
        hook, _ = SLOTS[slot]
        found: dict[str, Offer] = {}
        for impl in getattr(self.hook, hook).get_hookimpls():
            origin = self._origins[id(impl.plugin)]
            offered = _call(impl.function, origin, hook)
            if offered is None:
                raise ConfigError(f"{origin}: {hook}() must return a dict, not None")
            for name, provider in offered.items():
                if name in found:
                    raise ConfigError(
                        f"[{slot}] {name!r} is offered twice: by {found[name].origin} and by "
                        f"{origin}; remove or rename one of them"
                    )
                found[name] = Offer(name, provider, origin)
        return found

    def choose(self, slot: str, name: str, where: str) -> type:
        """The provider class of that name. `where` is the place in release.toml to blame."""
        offers = self.offers(slot)
        if name not in offers:
            raise ConfigError(
                f"{where}: [{slot}] use = {name!r}: no plugin offers it"
                f"{suggest(name, offers)} (have: {', '.join(sorted(offers)) or 'none'})"
            )
        offer = offers[name]
        _, protocol = SLOTS[slot]
        missing = [m for m in _methods(protocol) if not hasattr(offer.provider, m)]
        if not isinstance(offer.provider, type) or missing:
            raise ConfigError(
                f"{where}: [{slot}] {name!r} of {offer.origin} is not a {protocol.__name__}: "
                f"it lacks {', '.join(missing) or 'a class'}"
            )
        return offer.provider

    def ask(self, hook: str, **arguments: Any) -> list[tuple[Any, str]]:
        """Ask every implementation of a hook, first registered first: `(answer, origin)`."""
        answers = []
        for impl in getattr(self.hook, hook).get_hookimpls():
            origin = self._origins[id(impl.plugin)]
            wanted = {name: arguments[name] for name in impl.argnames}
            answer = _call(impl.function, origin, hook, **wanted)
            if answer is not None:
                answers.append((answer, origin))
        return answers

    def tell(self, hook: str, **arguments: Any) -> list[str]:
        """Call every implementation of a hook; what went wrong, instead of raising."""
        problems = []
        for impl in getattr(self.hook, hook).get_hookimpls():
            wanted = {name: arguments[name] for name in impl.argnames}
            try:
                _call(impl.function, self._origins[id(impl.plugin)], hook, **wanted)
            except ConfigError as error:
                problems.append(str(error))
        return problems

    def _load_installed(self) -> None:
        for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
            distribution = entry.dist.name if entry.dist else entry.value
            origin = f"installed plugin {entry.name!r} ({distribution})"
            try:
                plugin = entry.load()
            except (Exception, SystemExit) as error:
                raise ConfigError(f"{origin} cannot be imported: {_cause(error)}") from error
            self._register(plugin, origin)

    def _load_folder(self, folder: Path) -> None:
        for path in sorted(folder.glob("*.py")):
            if not path.name.startswith("_"):
                self._register(_import(path), f"plugins/{path.name}")

    def _register(self, plugin: object, origin: str) -> None:
        for attribute in dir(plugin):
            options = self.manager.parse_hookimpl_opts(plugin, attribute)
            if options is None:
                continue
            name = options.get("specname") or attribute
            if not hasattr(self.hook, name):
                known = [hook for hook in vars(self.hook) if not hook.startswith("_")]
                raise ConfigError(
                    f"{origin}: there is no hook {name!r}{suggest(name, known)}; "
                    f"hooks: {', '.join(sorted(known))}"
                )
        try:
            registered = self.manager.register(plugin, name=origin)
        except pluggy.PluginValidationError as error:
            raise ConfigError(f"{origin}: {' '.join(str(error).split())}") from None
        except ValueError:
            raise ConfigError(f"{origin} is loaded twice; remove one of them") from None
        if registered is not None:
            self._origins[id(plugin)] = origin


def _methods(protocol: type) -> list[str]:
    return [name for name, value in vars(protocol).items() if name[0] != "_" and callable(value)]


def _import(path: Path) -> ModuleType:
    name = f"fearless_team_plugins.{path.stem}"
    try:
        return source.load(path, name)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"plugins/{path.name} cannot be imported: {_cause(error)}") from error


def _call(function: Any, origin: str, hook: str, **arguments: Any) -> Any:
    """The answer of one plugin, of the type the hook promises; a generator has run to its end."""
    try:
        return _checked(hook, function(**arguments))
    except _Wrong as error:
        raise ConfigError(f"{origin}: {hook}() {error}") from None
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{origin}: {hook}() failed: {_cause(error)}") from error


class _Wrong(Exception):
    """An answer of another type than the hook's."""


def _checked(hook: str, answer: Any) -> Any:
    if answer is None:
        return None
    if hook in LISTS:
        return _list(answer, LISTS[hook])
    if hook in DICTS:
        return _dict(answer)
    return answer


def _list(answer: Any, kind: type) -> list[Any]:
    wanted = f"must return a list of {kind.__name__}, not"
    if isinstance(answer, str | bytes | Mapping) or not isinstance(answer, Iterable):
        raise _Wrong(f"{wanted} {_shown(answer)}")
    answers = list(answer)
    wrong = [item for item in answers if not isinstance(item, kind)]
    if wrong:
        raise _Wrong(f"{wanted} one with {_shown(wrong[0])} in it")
    return answers


def _dict(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, Mapping):
        raise _Wrong(f"must return a dict, not {_shown(answer)}")
    wrong = [key for key in answer if not isinstance(key, str)]
    if wrong:
        raise _Wrong(f"must return a dict whose keys are strings, not {_shown(wrong[0])}")
    return dict(answer)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _cause(error: BaseException) -> str:
    """One line: the exception, and the file and line of the innermost frame of the plugin."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if not f.filename.startswith("<frozen") and f.filename != __file__]
    where = f" ({ours[-1].filename}:{ours[-1].lineno})" if ours else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
