"""The model of the state machine: what a resource is, without any of the machinery that makes it so."""

from collections import Counter
from dataclasses import dataclass, field

from alluxio_lance.values import State

PARTS = {"major": 0, "minor": 1, "patch": 2}


@dataclass
class ModelVersion:
    """What a version holds, as a multiset of rows."""

    rows: Counter
    metadata: dict
    state: State = State.REGISTERED
    kept: list = field(default_factory=list)
    """The states to which a restore and an undelete lead back, the last one first."""

    def leave(self, state):
        """Go to a state from which there is a way back."""
        self.kept.append(self.state)
        self.state = state

    def come_back(self):
        """Take the way back."""
        self.state = self.kept.pop()

    @property
    def is_cold(self):
        """Whether its data are in the cold tier."""
        return State.ARCHIVED in (self.state, *self.kept)


@dataclass
class ModelResource:
    """A resource: its versions in the order in which they came, and where the pointer was before each verb."""

    versions: dict[str, ModelVersion] = field(default_factory=dict)
    active: str | None = None
    before: list = field(default_factory=list)
    been: set = field(default_factory=set)
    """Versions that were active."""
    hidden: bool = False
    purged: bool = False

    def listed(self):
        """Give the versions that are not deleted."""
        return {semver: each for semver, each in self.versions.items() if each.state is not State.DELETED}

    def deleted(self):
        """Give those that are."""
        return {semver: each for semver, each in self.versions.items() if each.state is State.DELETED}

    def change(self, semver):
        """Note that a verb is about a version, and give it."""
        self.before.append(self.active)
        return self.versions[semver]

    def point(self, semver):
        """Move the pointer."""
        if self.active and self.versions[self.active].state is State.ACTIVE:
            self.versions[self.active].state = State.REGISTERED
        self.active = semver
        if semver:
            self.been.add(semver)
            self.versions[semver].state = State.ACTIVE

    def add(self, semver, version, *, activate):
        """Take a version in."""
        self.before.append(self.active)
        self.versions[semver] = version
        if activate:
            self.point(semver)

    def base(self):
        """Name the version that an update continues from."""
        return self.active or list(self.listed())[-1]

    def following(self, bump):
        """Choose the next number: the part counts on from the highest of its line."""
        part = PARTS[bump]
        base = [int(number) for number in self.base().split(".")]
        line = [[int(number) for number in semver.split(".")] for semver in self.versions]
        highest = max(numbers[part] for numbers in line if numbers[:part] == base[:part])
        return ".".join(map(str, [*base[:part], highest + 1, 0, 0][:3]))

    def earlier(self):
        """Name the version that a rollback without a name means, if there is one."""
        usable = (semver for semver in reversed(self.before) if semver and semver != self.active)
        return next((semver for semver in usable if self.versions[semver].state is State.REGISTERED), None)


Refused = type("Refused", (Exception,), {})


def need(resources, name):
    """Give a resource that has to be there."""
    if name not in resources or resources[name].hidden:
        raise Refused
    return resources[name]


def pick(versions, place):
    """Choose one of the versions."""
    return list(versions)[place % len(versions)]


def plain(resources):
    """Write a model as `Machine.seen` writes the world."""
    return {
        name: "hidden"
        if resource.hidden
        else (
            resource.active,
            {
                semver: (
                    each.rows.total() if each.state in (State.ARCHIVED, State.DELETED) else each.rows,
                    each.metadata,
                    each.state,
                )
                for semver, each in resource.versions.items()
            },
        )
        for name, resource in resources.items()
    }


def counted(resources):
    """Count the verbs of a model, as `Machine.count` does."""
    return {name: len(resource.before) for name, resource in resources.items()}


def merged(old, new):
    """Lay metadata over metadata; None takes a key away."""
    new = new or {}
    return {key: value for key, value in {**old, **new}.items() if key not in new or value is not None}
