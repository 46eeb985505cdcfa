"""A Mininet host or switch that survives its shell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mininet.node import Node

from topologies.keeper import Keeper
from topologies.processes import Process, processes_in_network
from topologies.scripts import ScriptError

#: What Mininet's shells print when a command has ended.
_PROMPT = chr(127)


class KeptNode(Node):
    """A Mininet node. ``pid`` names its namespaces as long as it exists.

    It is the id of the :class:`Keeper`'s thread, not of the shell. A shell that was killed
    is started again, in the same namespaces, by the next command for it.
    """

    keeper: Keeper | None = None

    def startShell(self, mnopts: str | None = None) -> None:
        """Start the shell. Raises :class:`ScriptError` if it ends at once."""
        super().startShell(mnopts)
        if self.keeper is None:
            try:
                self.keeper = Keeper(self.shell.pid)
            except OSError as error:
                raise self._shell_ended() from error
        self.pid = self.keeper.id

    def unmountPrivateDirs(self) -> None:
        """Nothing: they end with the mount namespace."""

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        """Give the shell a command. One that has ended is started again before."""
        if self.shell is not None and self.shell.poll() is not None:
            self._restart_shell()
        super().sendCmd(*args, **kwargs)

    def read(self, size: int = 1024) -> str:
        """The shell's output. If the shell has ended, so has its command."""
        try:
            output: str = super().read(size)
        except OSError as error:
            if self.keeper is None:
                raise self._shell_ended() from error
            self.shell.kill()  # without its terminal it would be of no use
            self.shell.wait()
            return _PROMPT
        return output

    def terminate(self) -> None:
        """End the shell, and let the namespaces go."""
        super().terminate()
        if self.keeper:
            self.keeper.close()

    def programs(self) -> Iterator[Process]:
        """Every process in its network namespace except its shell."""
        for each in processes_in_network(self.pid):
            if each.pid != self.shell.pid:
                yield each

    def _restart_shell(self) -> None:
        if self.keeper is None:
            raise self._shell_ended()
        self.cleanup()
        self.inNamespace = False  # it has its namespaces
        try:
            self.startShell(f"-cda{self.keeper.id}")
        finally:
            self.inNamespace = True

    def _popen(self, cmd: list[str], **params: Any) -> Any:
        process = super()._popen(cmd, **params)
        if self.slave is not None and params.get("stdin") == self.slave:
            # Mininet keeps the shell's end of the terminal open, for no use. Without it a
            # read fails when the shell has ended (EIO), where it would block for ever.
            with open(os.devnull, "r+b") as null:
                os.dup2(null.fileno(), self.slave, inheritable=False)
        return process

    def _shell_ended(self) -> ScriptError:
        return ScriptError(f"{self.name}: its shell has ended")
