"""The main job from its beginning to its end: start, register, train, update, roll back, look; every step checked."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from alluxio_lance.cli.cache_view import cache_view
from alluxio_lance.cli.demo.cast import ROLES, Role, missing, start
from alluxio_lance.cli.demo.choosing import Choice, choose
from alluxio_lance.cli.demo.dialogue import Partner
from alluxio_lance.cli.demo.governing import Governing
from alluxio_lance.cli.demo.ledger import Ledger
from alluxio_lance.cli.demo.material import Material
from alluxio_lance.cli.demo.memory import memory_table
from alluxio_lance.cli.demo.sharing import check_sharing, held_bytes, measure
from alluxio_lance.cli.demo.system import System
from alluxio_lance.cli.demo.underneath import Underneath
from alluxio_lance.cli.history_view import history_view
from alluxio_lance.cli.human import count, duration, size
from alluxio_lance.cli.progress import progress_bar
from alluxio_lance.client.cache import RemoteCache
from alluxio_lance.client.table import Table
from alluxio_lance.errors import InvalidArgument
from alluxio_lance.manager import ResourceManager
from alluxio_lance.values import Version

__all__ = ["Story"]

_EPOCHS: Final = 5


@dataclass(slots=True)
class Story:
    """One run of the demo; `tell` returns whether all went as expected."""

    console: Console
    material: Material
    folder: Path
    run_dir: Path
    wanted: frozenset[str]
    """The extras of the frameworks that shall take part."""
    store: str = ""
    """Where the tables lie, as `up --store` takes it; empty for a folder."""
    ledger: Ledger = field(init=False)
    partners: list[Partner] = field(default_factory=list)
    _chapter: int = 0
    _prints: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.console)

    def tell(self) -> bool:
        """Run through all chapters, print the summary, and return whether no row failed."""
        started = time.monotonic()
        with ExitStack() as stack:
            system = self._begin(stack)
            manager = stack.enter_context(ResourceManager.connect(system.address.grpc))
            first = self._register(manager)
            choice = self._choose(system, first)
            self._train(first, choice)
            self._update(manager, first, choice)
            self._roll_back(manager, first, choice)
            self._look(manager, system, choice)
            if self.store:
                self._look_underneath(manager)
            self._govern(manager)
            for partner in self.partners:
                partner.close()
            self.ledger.check("`up` ended by SIGTERM, exit code", 0, system.stop())
        self.console.print()
        self.console.print(self.ledger.view())
        self.console.print(self._verdict(time.monotonic() - started))
        return self.ledger.ok

    # -- chapters ------------------------------------------------------------------------------------------------------

    def _begin(self, stack: ExitStack) -> System:
        where = f" --store '{self.store}'" if self.store else ""
        self._head("Start the whole system in one process", f"alluxio-lance up --root {self.folder / 'root'}{where}")
        system = stack.enter_context(System(self.folder / "root", self.run_dir, self.folder / "up.log", self.store))
        for role in ROLES:
            self._invite(role, system, stack)
        started = time.monotonic()
        system.wait_until_ready()
        self.console.print(
            f"  process {system.pid} answers after {duration(time.monotonic() - started)}", highlight=False
        )
        return system

    def _invite(self, role: Role, system: System, stack: ExitStack) -> None:
        package = missing(role)
        if role.extra not in self.wanted:
            self.ledger.skip(role.name, f"left out, as asked by --no-{role.extra}")
        elif package is not None:
            self.ledger.skip(role.name, f"not installed ({package}): pip install 'alluxio-lance[{role.extra}]'")
        else:
            self.partners.append(start(role, system.address, self.folder, stack))

    def _register(self, manager: ResourceManager) -> Version:
        self._head("Register a dataset", f"alluxio-lance register {self._full_name} {self.material.first}")
        with progress_bar(self.console) as on_progress:
            version = manager.register_resource(
                "datasets",
                self.material.name,
                self.material.first,
                message="the first version",
                options=self.material.options or None,
                on_progress=on_progress,
            )
        if not version.num_rows:
            raise InvalidArgument(f"{self.material.first} has no rows: there is nothing to train on or to compare")
        self.ledger.check("registered as", "1.0.0", version.semver)
        if self.material.rows is not None:
            self.ledger.check("rows of 1.0.0", self.material.rows, version.num_rows)
        return version

    def _choose(self, system: System, version: Version) -> Choice:
        with Table.open(version.uri, address=system.address.grpc) as opened:
            choice = choose(opened)
        if choice.left_out:
            text = f"  columns that are left out here, since they are not numbers of one size: {', '.join(choice.left_out)}"
            self.console.print(text, style="dim", soft_wrap=True)
        return choice

    def _train(self, first: Version, choice: Choice) -> None:
        self._head("Train on it, from one memory", "from alluxio.torch import Dataset, save_model, load_model")
        if not choice.columns:
            self.ledger.skip(
                "training and reading", "no column of numbers of one size: nothing that both frameworks read alike"
            )
            self.partners.clear()
            return
        if choice.pair is None:
            self.console.print("  no pair of image and label in it, so nothing is trained: every row is read instead")
        for partner in self.partners:
            partner.ask("open", uri=f"alluxio://{self._full_name}", columns=list(choice.columns))
            self._read(partner, "1.0.0", first.num_rows)
            accuracy = self._fit(partner, choice)
            self._keep(partner, choice, accuracy)
            self._prints[partner.name] = self._fingerprint(partner, choice)
        if len(self.partners) > 1:
            self.ledger.check(
                "PyTorch and Keras read the same bytes", *(self._prints[each.name] for each in self.partners)
            )

    def _fit(self, partner: Partner, choice: Choice) -> float:
        if choice.pair is None:
            return 0.0
        started = time.monotonic()
        image, label = choice.pair
        accuracy = float(partner.ask("train", image=image, label=label, epochs=_EPOCHS)["accuracy"])
        goal = self.material.accuracy or 0.0
        found = f"{accuracy:.1%} in {_EPOCHS} epochs, {duration(time.monotonic() - started)}"
        self.ledger.check(f"{partner.name}: rows that it learnt", f"over {goal:.0%}", found, ok=accuracy > goal)
        return accuracy

    def _keep(self, partner: Partner, choice: Choice, accuracy: float) -> None:
        """Let a trained network become a version of a model, and come back from shared memory."""
        if choice.pair is None:
            return
        uri = f"alluxio://models/{self.material.name}-{partner.name.lower()}"
        saved = partner.ask("save", uri=uri, image=choice.pair[0], accuracy=accuracy)
        self.ledger.check(f"{partner.name}: its network saved as", "1.0.0", saved["version"])
        self.ledger.check(
            f"{partner.name}: loaded again, its answers", "the same", "the same" if saved["same"] else "others"
        )

    def _update(self, manager: ResourceManager, first: Version, choice: Choice) -> None:
        self._head("Update: append rows", f"alluxio-lance update {self._full_name} {self.material.more}")
        with progress_bar(self.console) as on_progress:
            second = manager.update_resource(
                "datasets",
                self.material.name,
                self.material.more,
                message=self.material.growth,
                options=self.material.options or None,
                on_progress=on_progress,
            )
        self.ledger.check("updated to", "1.1.0", second.semver)
        grown = second.num_rows > first.num_rows
        self.ledger.check("rows of 1.1.0", f"over {count(first.num_rows)}", count(second.num_rows), ok=grown)
        for partner in self.partners:
            partner.ask("refresh")
            self._read(partner, "1.1.0", second.num_rows)

    def _roll_back(self, manager: ResourceManager, first: Version, choice: Choice) -> None:
        self._head("Roll back", f"alluxio-lance rollback {self._full_name}")
        started = time.monotonic()
        version = manager.rollback_resource("datasets", self.material.name, message="the demo goes back")
        self.console.print(
            f"  the pointer moved in {duration(time.monotonic() - started)}, no data did", highlight=False
        )
        self.ledger.check("active again", str(first), str(version))
        for partner in self.partners:
            partner.ask("refresh")
            self._read(partner, "1.0.0", first.num_rows)
            self.ledger.check(
                f"{partner.name}: 1.0.0 again, byte for byte",
                self._prints[partner.name],
                self._fingerprint(partner, choice),
            )

    def _look(self, manager: ResourceManager, system: System, choice: Choice) -> None:
        self._head("Look", f"alluxio-lance history {self._full_name}; alluxio-lance cache status")
        events = manager.history("datasets", self.material.name)
        self.console.print(history_view(events, datetime.now(UTC)))
        verbs = [event.verb.value for event in events]
        self.ledger.check("history", "register, update, rollback", ", ".join(verbs))
        largest, columns = self._largest(manager, choice)
        footprints = measure(system, self.partners, largest.uri, columns)
        with RemoteCache.connect(system.address) as cache:
            statistics = cache.statistics()
        self.console.print(cache_view(statistics, datetime.now(UTC)))
        self.console.print()
        self.console.print(memory_table(footprints))
        if self.partners:
            check_sharing(self.ledger, footprints, held_bytes(statistics, largest))

    def _look_underneath(self, manager: ResourceManager) -> None:
        self._head("Alluxio underneath", f"alluxio-lance cache explain alluxio://{self._full_name}")
        Underneath(self.console, self.ledger, manager, self.material.name).tell()

    def _govern(self, manager: ResourceManager) -> None:
        """Promote and archive; the training processes still read 1.0.0 meanwhile."""
        chapter = Governing(self.console, self.ledger, manager, self.material.name)
        self._head("A gate, and a way back", f"alluxio-lance promote {self._full_name}@1.1.0 production")
        chapter.promote()
        self._head("To the cold tier and back", f"alluxio-lance archive {self._full_name}@1.1.0")
        chapter.archive()

    def _largest(self, manager: ResourceManager, choice: Choice) -> tuple[Version, list[str]]:
        """Return the version whose memory is worth a look, and its columns."""
        if self.material.large is None:
            return manager.get_resource("datasets", self.material.name).info, list(choice.columns)
        tiles = manager.register_resource("datasets", "tiles", self.material.large, message="tiles of two photographs")
        text = f"  for the memory: {count(tiles.num_rows)} tiles of the photographs, {size(tiles.num_bytes)}\n"
        self.console.print(text, highlight=False, soft_wrap=True)
        return tiles, ["image", "label"]

    # -- small things --------------------------------------------------------------------------------------------------

    @property
    def _full_name(self) -> str:
        return f"datasets/{self.material.name}"

    def _head(self, title: str, command: str) -> None:
        self._chapter += 1
        self.console.print(Text.assemble("\n", (f"{self._chapter}  {title}", "bold cyan")))
        self.console.print(Text(f"   {command}", style="dim"), soft_wrap=True)

    def _read(self, partner: Partner, version: str, rows: int) -> None:
        self.ledger.check(f"{partner.name}: rows of an epoch of {version}", rows, partner.ask("epoch")["rows"])

    @staticmethod
    def _fingerprint(partner: Partner, choice: Choice) -> str:
        answer: dict[str, Any] = partner.ask("fingerprint", columns=list(choice.columns))
        return hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()[:12]

    def _verdict(self, seconds: float) -> Text:
        checked = [entry for entry in self.ledger.entries if entry.ok is not None]
        bad = sum(not entry.ok for entry in checked)
        if bad:
            return Text(f"{bad} of {len(checked)} rows are not as expected ({duration(seconds)})", style="bold red")
        return Text(f"all {len(checked)} rows are as expected ({duration(seconds)})", style="bold green")
