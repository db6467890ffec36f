"""The arena by itself: who has a slot, what becomes of it when somebody dies, and where its memory comes from."""

from __future__ import annotations

import mmap
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from alluxio_lance.client.arena import Arena, ArenaStatistics, arena_statistics
from alluxio_lance.client.arenas import Arenas
from alluxio_lance.errors import Internal, Unavailable
from alluxio_lance.sidecar._shm import Arena as Slots
from alluxio_lance.sidecar._shm import Slot

# Other rooms' tests load Lance into this process; nothing here forks one that uses it.
pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")

MIB = 1 << 20
HUGE = 2 * MIB
WAIT = 30
STRANGER = """
import pickle, sys
import numpy as np
from alluxio_lance.client.arena import Arena

arena = Arena.adopt(pickle.loads(bytes.fromhex(sys.argv[1])))
slot = arena.claim(1 << 20)
np.frombuffer(slot, np.uint8)[:] = 6
assert slot.send()
print(slot.index, slot.ticket, len(slot), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def arena() -> Iterator[Arena]:
    """An arena of this process; every test leaves it empty."""
    made = Arena.make(limit=64 * MIB)
    yield made
    assert state(made) == (0, 0, 0)


def state(arena: Arena) -> tuple[int, int, int]:
    """Say how many slots are being filled, are on their way, and are held."""
    found = arena.statistics()
    return found.filling, found.in_flight, found.held


def fill(slot: Slot, value: int) -> None:
    """Write one value everywhere."""
    np.frombuffer(slot, np.uint8)[:] = value


def holds(slot: Slot, value: int) -> bool:
    """Whether that value is everywhere."""
    return bool((np.frombuffer(slot, np.uint8) == value).all())


class Child:
    """A forked process that does something, says what came of it, and lives until it is let go or killed."""

    def __init__(self, task: Callable[[], bytes]) -> None:
        (self._from, there), (stay, self._end) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._end)
                os.write(there, task())
                os.read(stay, 1)
            finally:
                # Whatever happens: a child never goes on with the tests.
                os._exit(0)
        os.close(there)
        os.close(stay)

    def said(self) -> bytes:
        """What it said, within a limited time."""
        assert select.select([self._from], [], [], WAIT)[0], "the child says nothing"
        return os.read(self._from, 4096)

    def end(self, number: int = 0) -> None:
        """Let it go, or send it a signal first, and collect it; a second call does nothing."""
        if self.pid:
            if number:
                os.kill(self.pid, number)
            os.close(self._end)
            os.close(self._from)
            os.waitpid(self.pid, 0)
            self.pid = 0


@contextmanager
def child(task: Callable[[], bytes]) -> Iterator[Child]:
    """Run a child for the length of a block."""
    running = Child(task)
    try:
        yield running
    finally:
        running.end()


def sending(arena: Arena, value: int, length: int = MIB, *, keep: bool = False) -> Callable[[], bytes]:
    """Make a task that fills a slot, sends it, and says where it is; ``keep``: it goes on holding it."""
    kept: list[Slot] = []

    def task() -> bytes:
        slot = arena.claim(length)
        assert slot is not None
        fill(slot, value)
        assert slot.send()
        if keep:
            kept.append(slot)
        return f"{slot.index} {slot.ticket} {length}".encode()

    return task


def received(arena: Arena, running: Child) -> Slot:
    """Receive what a child has sent."""
    index, ticket, length = map(int, running.said().split())
    return arena.receive(index, ticket, length)


# -- one process -------------------------------------------------------------------------------------------------------


def test_a_slot_goes_back_with_its_last_view(arena):
    """A slot is free again when the object and every view of it are gone; its memory is used again."""
    slot = arena.claim(MIB)
    view = np.frombuffer(slot, np.uint8)[5:]
    first = slot.index
    del slot
    assert state(arena) == (1, 0, 0)
    other = arena.claim(MIB)
    assert other.index != first
    del view, other
    assert state(arena) == (0, 0, 0)
    assert [arena.claim(MIB).index for _ in range(3)] == [first] * 3
    assert arena.statistics().bytes == 2 * MIB


def test_a_slot_grows_with_what_it_has_to_hold(arena):
    """A longer batch gets the same slot with more memory; the length is what was asked for."""
    small = arena.claim(MIB)
    assert (len(small), small.mapped_bytes) == (MIB, MIB)
    index = small.index
    del small
    large = arena.claim(5 * MIB + 1)
    assert large.index == index
    fill(large, 3)
    assert len(large) == 5 * MIB + 1 <= large.mapped_bytes
    assert arena.statistics().slots == 1


def test_beyond_the_limit_there_is_none(arena):
    """A claim that the limit forbids is None and counted, nobody waits; a slot that comes back is given again."""
    kept = [arena.claim(16 * MIB) for _ in range(4)]
    assert all(kept)
    assert arena.claim(16 * MIB) is None
    assert arena.claim((1 << 30) + 1) is None
    kept.pop()
    again = arena.claim(16 * MIB)
    assert again is not None
    found = arena.statistics()
    assert (found.slots, found.bytes, found.fallbacks, found.handed_over) == (4, 64 * MIB, 2, 5)


def test_the_table_has_an_end():
    """When all slots are taken a claim is None, however small."""
    arena = Arena.make()
    kept = [arena.claim(1) for _ in range(512)]
    assert all(kept)
    assert arena.claim(1) is None


def test_an_arena_has_no_memory_before_it_is_used():
    """Making one costs descriptors and a table, no slots."""
    arena = Arena.make()
    assert arena.statistics() == ArenaStatistics(
        arenas=1, slots=0, bytes=0, huge_bytes=0, filling=0, in_flight=0, held=0, handed_over=0, fallbacks=0
    )


def test_the_files_cannot_change_their_size(arena):
    """Nobody can cut a file short under those who map it."""
    for number in arena.travelling().origin.numbers:
        for size in (0, 1 << 50):
            with pytest.raises(PermissionError):
                os.ftruncate(number, size)


@pytest.mark.parametrize(
    ("slots", "stride", "why"),
    [(0, HUGE, "at least one"), (1, MIB, "huge pages"), (300, HUGE, "is shorter than"), (100, HUGE, "table")],
)
def test_files_that_do_not_fit_are_refused(slots, stride, why):
    """Slots must lie within the files, at the beginning of huge pages."""
    table, data = os.memfd_create("table"), os.memfd_create("data")
    os.ftruncate(table, mmap.PAGESIZE)
    os.ftruncate(data, 100 * HUGE)
    with pytest.raises(ValueError, match=why):
        Slots(table, data, -1, slots=slots, stride=stride, limit=HUGE, transparent=False)
    for number in (table, data):
        os.close(number)


def test_slots_are_made_by_arenas_only():
    """There is no slot without an arena."""
    with pytest.raises(TypeError, match=r"Arena\.claim"):
        Slot()


def test_what_was_not_sent_does_not_arrive(arena):
    """A place that nobody sent, or sent under another ticket, or sent once and received once, is refused."""
    slot = arena.claim(MIB)
    for index, ticket in ((slot.index, slot.ticket), (600, 1), (-1, 1)):
        with pytest.raises(Unavailable, match="did not arrive"):
            arena.receive(index, ticket, MIB)
    assert slot.send()
    assert not slot.send()
    with pytest.raises(Unavailable):
        arena.receive(slot.index, slot.ticket + 1, MIB)
    held = arena.receive(slot.index, slot.ticket, MIB)
    with pytest.raises(Unavailable):
        arena.receive(slot.index, slot.ticket, MIB)
    del held


def test_more_than_a_slot_has_does_not_arrive(arena):
    """A length beyond the slot's memory raises instead of being mapped."""
    slot = arena.claim(MIB)
    slot.send()
    with pytest.raises(MemoryError):
        arena.receive(slot.index, slot.ticket, 2 * MIB)


def test_both_ends_must_let_go(arena):
    """A slot that was received is not used again while the process that filled it still has a view, nor the reverse."""
    slot = arena.claim(MIB)
    slot.send()
    held = arena.receive(slot.index, slot.ticket, MIB)
    del held
    assert state(arena) == (1, 0, 0)
    assert arena.claim(MIB).index != slot.index


def test_threads_never_share_a_slot(arena):
    """Threads that claim, fill and check at the same time never see each other's values."""
    wrong: list[int] = []

    def work(value: int) -> None:
        for _ in range(200):
            slot = arena.claim(64 << 10)
            fill(slot, value)
            if not holds(slot, value):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert wrong == []


# -- several processes -------------------------------------------------------------------------------------------------


def test_what_a_child_filled_arrives(arena):
    """Bytes that a forked child wrote are read in the parent, and may be written there; then the slot is free."""
    with child(sending(arena, 7)) as running:
        slot = received(arena, running)
        assert holds(slot, 7)
        fill(slot, 8)
        assert state(arena) == (0, 0, 1)
        del slot
        assert state(arena) == (0, 0, 0)


@pytest.mark.parametrize("keep", [False, True])
def test_slots_of_the_dead_come_back(arena, keep):
    """What a killed process was filling or had sent is taken back, also before anybody has collected it."""
    with child(sending(arena, 7, keep=keep)) as running:
        running.said()
        assert state(arena) == (int(keep), 1, 0)
        os.kill(running.pid, signal.SIGKILL)
        # Dead but not collected: a zombie still has its pid.
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        assert state(arena) == (0, 0, 0)


def test_a_batch_of_the_dead_is_refused_once_taken_back(arena):
    """A descriptor that arrives after its slot was taken back and given to somebody else is an error, not wrong bytes."""
    with child(sending(arena, 7)) as running:
        index, ticket, length = map(int, running.said().split())
        running.end(signal.SIGKILL)
    other = [arena.claim(MIB) for _ in range(2)]
    assert index in {slot.index for slot in other}
    with pytest.raises(Unavailable, match="has ended"):
        arena.receive(index, ticket, length)


def test_a_batch_outlives_the_process_that_made_it(arena):
    """What was received stays when the sender dies, and is free once it is let go."""
    with child(sending(arena, 7, keep=True)) as running:
        slot = received(arena, running)
        running.end(signal.SIGKILL)
    assert state(arena) == (0, 0, 1)
    assert all(arena.claim(MIB).index != slot.index for _ in range(3))
    assert holds(slot, 7)


def test_a_slot_that_a_child_inherited_is_not_used_again_before_its_end(arena):
    """A child goes on reading what its parent had at the fork, though the parent lets go and fills other slots."""
    (here, there), (go, begin) = os.pipe(), os.pipe()
    slot = arena.claim(MIB)
    fill(slot, 5)
    pid = os.fork()
    if pid == 0:
        os.read(go, 1)
        os.write(there, b"same" if holds(slot, 5) else b"changed")
        os._exit(0)
    del slot
    for _ in range(3):
        fill(arena.claim(MIB), 9)
    os.write(begin, b"x")
    assert select.select([here], [], [], WAIT)[0]
    assert os.read(here, 10) == b"same"
    os.waitpid(pid, 0)
    assert state(arena) == (0, 0, 0)
    for number in (here, there, go, begin):
        os.close(number)


class Witness:
    """Says whether a child has ended; who asks first gets the answer when the test lets it go on."""

    def __init__(self, *, ended: bool) -> None:
        self.ended = ended
        self._asked, self._go = threading.Event(), threading.Event()

    def __call__(self) -> bool:
        if not self._asked.is_set():
            self._asked.set()
            assert self._go.wait(WAIT)
        return self.ended

    @contextmanager
    def while_asked(self, arena: Arena) -> Iterator[None]:
        """Do something while another thread that looks after the arena asks."""
        asking = threading.Thread(target=arena.statistics)
        asking.start()
        assert self._asked.wait(WAIT)
        yield
        self._go.set()
        asking.join(WAIT)


def passed(arena: Arena) -> Slot:
    """Send a slot to this process itself."""
    slot = arena.claim(MIB)
    assert slot is not None
    assert slot.send()
    return arena.receive(slot.index, slot.ticket, MIB)


def bequeath(arena: Arena, witness: Callable[[], bool]) -> None:
    """Hold a slot while a child is forked, and let go."""
    held = passed(arena)
    arena.forking(witness)
    arena.forked(witness)
    del held


def test_two_threads_give_back_an_inherited_slot_once(arena):
    """While one thread asks for a child another one asks too: the slot, somebody else's by then, is not freed again."""
    witness = Witness(ended=True)
    bequeath(arena, witness)
    with witness.while_asked(arena):
        arena.statistics()
        held = passed(arena)
    assert state(arena) == (0, 0, 1)
    assert all(arena.claim(MIB).index != held.index for _ in range(3))
    del held


def test_two_threads_lose_no_inherited_slot(arena):
    """What is let go while a thread asks for a child is given back, too."""
    witness = Witness(ended=False)
    bequeath(arena, witness)
    with witness.while_asked(arena):
        arena.statistics()
        bequeath(arena, lambda: witness.ended)
    assert state(arena) == (0, 0, 2)
    witness.ended = True
    assert state(arena) == (0, 0, 0)


def test_what_other_threads_do_in_the_middle_of_a_fork(arena):
    """What is let go between the beginning of a fork and its end may be in the child, and so may what came meanwhile."""
    over = threading.Event()
    before = passed(arena)
    arena.forking(over.is_set)
    del before
    assert state(arena)[2] == 1
    during = passed(arena)
    arena.forked(over.is_set)
    del during
    assert state(arena)[2] == 2
    after = passed(arena)
    del after
    assert state(arena)[2] == 2
    over.set()
    assert state(arena) == (0, 0, 0)


def test_a_child_that_cannot_tell_its_birth_is_no_one_else(arena):
    """A child without descriptors cannot claim at first; when it can, it claims as itself and is not taken for dead."""
    kept: list[Slot] = []

    def task() -> bytes:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        with pytest.raises(OSError, match="Too many open files"):
            arena.claim(MIB)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        kept.append(arena.claim(MIB))
        return b"claimed"

    with child(task) as running:
        assert running.said() == b"claimed"
        assert state(arena) == (1, 0, 0)


def test_a_child_frees_nothing_that_its_parent_has(arena):
    """The objects that a fork copies hold nothing in the child."""
    slots = [arena.claim(MIB)]

    def drop() -> bytes:
        slots.clear()
        return b"dropped"

    with child(drop) as running:
        assert running.said() == b"dropped"
        assert state(arena) == (1, 0, 0)
    slots.clear()


def test_a_stranger_takes_part(arena):
    """A process that was not forked attaches to what was pickled, and what it fills arrives."""
    command = [sys.executable, "-P", "-c", STRANGER, pickle.dumps(arena.travelling()).hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        slot = arena.receive(*map(int, process.stdout.readline().split()))
        assert holds(slot, 6)
        process.communicate(timeout=WAIT)
    del slot


# -- which arena -------------------------------------------------------------------------------------------------------


def test_only_children_have_an_arena_to_send_through():
    """Before a fork the parent makes an arena, which its child finds; the parent itself has none to send through."""
    arenas = Arenas()
    assert arenas.of_parent() is None
    with child(lambda: b"own" if arenas._arena is not None else b"none") as running:
        assert running.said() == b"own"
    assert arenas.own() is arenas.own()
    assert arenas.of_parent() is None
    arenas.close()


def test_a_copy_elsewhere_makes_its_own():
    """An unpickled copy knows the arena of the process that pickled it, and makes another one for its own workers."""
    arenas = Arenas()
    copied = pickle.loads(pickle.dumps(arenas))
    assert copied._arena.travelling().origin.identities == arenas.own().travelling().origin.identities

    def number_of_arenas() -> bytes:
        mine = copied.own()
        return str(arena_statistics().arenas).encode() if mine.owner == os.getpid() else b"not mine"

    with child(number_of_arenas) as running:
        assert running.said() == b"1"


def test_without_an_arena_everything_goes_on(monkeypatch):
    """A process that may open no more files has none, and says so by None."""

    def refuse(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    arenas = Arenas()
    assert arenas.own() is None
    assert pickle.loads(pickle.dumps(arenas)).of_parent() is None


def test_an_arena_that_is_not_here_is_named():
    """A batch of an arena that this process has not says what to do."""
    arena = Arena.make()
    key = arena.key
    assert Arena.known(key) is arena
    del arena
    with pytest.raises(Internal, match="keep its dataset"):
        Arena.known(key)
