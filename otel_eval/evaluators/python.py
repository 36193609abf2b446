"""A user's own function."""

import asyncio
import hashlib
import inspect
import pkgutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from otel_eval.config.section import Section
from otel_eval.config.values import PositiveDuration
from otel_eval.evaluators.by_code import ByCode, plain, version
from otel_eval.evaluators.evaluator import NotApplicable, Result, Scope, Subject
from otel_eval.traces.values import number

_MAX_THREADS: Final = 16
_MAX_RESULTS: Final = 100


class PythonConfig(Section, frozen=True):
    """`function` is an import path such as `my_package.checks:is_polite`, found where Python finds modules.

    It is called with a `Subject`, and may be async. After `timeout` it is given up. A number that it answers passes
    from `threshold` on. With `scope` session it gets the traces of a session.
    """

    function: str
    timeout: PositiveDuration = PositiveDuration(10)
    threshold: float | None = None
    scope: Scope = Scope.TRACE

    def __post_init__(self) -> None:
        _imported(self.function)


class _Raised(Exception):
    """A function has raised this: what it was is not to be taken for a cancellation, or an order to stop, by anybody else."""


class Python(ByCode):
    """Whatever a function of yours says: true or false (1 or 0, pass or fail), a number, a label, or `Result`s.

    None and `NotApplicable` are no score, nor is a function that raises or takes too long. A function that is not
    async runs in a thread of its own, of which there are at most 16; one that never ends keeps its thread. An async one
    that computes for long stops everything: give such work to a thread.

    >>> from otel_eval.evaluators import example
    >>> evaluator = Python("polite", PythonConfig(function="otel_eval.evaluators.example:says_please"))
    >>> example.judged(evaluator, example.trace('''
    ... user: Where do I sign?
    ... assistant: Please sign below.'''))
    '1 pass: says_please: True'
    """

    Config = PythonConfig
    config: PythonConfig

    def __init__(self, name: str, config: PythonConfig) -> None:
        super().__init__(name, config)
        self.scope = config.scope
        self._function = _imported(config.function)
        self._threads = asyncio.Semaphore(_MAX_THREADS)
        self.version = version(type(self).__name__, self.revision, config, _source(self._function))

    async def evaluate(self, subject: Subject) -> Sequence[Result] | NotApplicable:
        """Call it; its answer as results."""
        try:
            async with asyncio.timeout(self.config.timeout):
                if inspect.iscoroutinefunction(self._function):
                    said = await self._in_loop(subject)
                else:
                    said = await self._in_thread(subject)
        except TimeoutError:
            return NotApplicable(f"{self.config.function} took longer than {self.config.timeout:g} s")
        except _Raised as error:
            return NotApplicable(f"{self.config.function} raised {error}")
        return self._results(said)

    async def _in_loop(self, subject: Subject) -> Any:
        """The answer of an async function."""
        task = asyncio.current_task()
        try:
            return await self._function(subject)
        except BaseException as error:
            ours = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()
            if ours or isinstance(error, GeneratorExit):
                raise
            raise _Raised(type(error).__name__) from None

    async def _in_thread(self, subject: Subject) -> Any:
        """The function's answer, from a thread that does not keep the program from ending."""
        await self._threads.acquire()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Any] = loop.create_future()

        def end(said: Any, error: _Raised | None) -> None:
            self._threads.release()
            if ended.cancelled():
                return
            if error is None:
                ended.set_result(said)
            else:
                ended.set_exception(error)

        def run() -> None:
            said, error = None, None
            try:
                said = self._function(subject)
            except BaseException as raised:  # noqa: BLE001 - what is raised is told by the waiting side
                error = _Raised(type(raised).__name__)
            try:
                loop.call_soon_threadsafe(end, said, error)
            except RuntimeError:
                pass  # the loop has ended: nobody waits

        threading.Thread(target=run, name=f"evaluator {self.name}", daemon=True).start()
        return await ended

    def _results(self, said: Any) -> Sequence[Result] | NotApplicable:
        if isinstance(said, NotApplicable):
            return said
        if isinstance(said, Result):
            return (said,)
        if isinstance(said, list | tuple) and said and all(isinstance(one, Result) for one in said):
            return tuple(said[:_MAX_RESULTS])
        return self._scored(said)

    def _scored(self, said: Any) -> Sequence[Result] | NotApplicable:
        """A plain value as a score."""
        function = self.config.function.rpartition(":")[2]
        if isinstance(said, bool):
            return (self.result(float(said), said, f"{function}: {said}"),)
        value = number(said) if isinstance(said, int | float) else None
        if value is not None:
            passed = None if self.config.threshold is None else value >= self.config.threshold
            return (self.result(value, passed, f"{function}: {value:g}"),)
        if isinstance(said, str) and said:
            return (Result(name=self.name, label=plain(said, 100)),)
        return NotApplicable(f"{self.config.function} answered {'nothing' if said is None else type(said).__name__}")


def _imported(path: str) -> Callable[[Subject], Any]:
    """The function; raises ValueError saying why there is none."""
    if path.count(":") != 1:
        raise ValueError(f"function: expected an import path such as my_package.checks:is_polite, got {path!r:.100}")
    try:
        found = pkgutil.resolve_name(path)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's module may raise anything
        raise ValueError(f"function: {path!r:.100} cannot be imported: {type(error).__name__}: {error!s:.200}") from None
    if not callable(found):
        raise ValueError(f"function: {path!r:.100} is no function but a {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _source(function: Callable[[Subject], Any]) -> str:
    """A hash of the file that the function is in; its name where there is no such file."""
    try:
        return hashlib.sha256(Path(inspect.getfile(function)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return repr(getattr(function, "__qualname__", type(function)))
