"""What the lifecycle asks of the catalog and of the storage, and nothing more."""

from alluxio_lance.lifecycle.ports.audit import AuditFault, AuditReport, Denial, Fault, Note
from alluxio_lance.lifecycle.ports.catalog import Catalog
from alluxio_lance.lifecycle.ports.changes import Branch, Change, ColdCopy, Draft, Holder, Snapshot, StoredFile
from alluxio_lance.lifecycle.ports.operations import Operation, OperationState, Owner
from alluxio_lance.lifecycle.ports.store import Destination, Source, Store, TableReader, Usage, Write

__all__ = [
    "AuditFault",
    "AuditReport",
    "Branch",
    "Catalog",
    "Change",
    "ColdCopy",
    "Denial",
    "Destination",
    "Draft",
    "Fault",
    "Holder",
    "Note",
    "Operation",
    "OperationState",
    "Owner",
    "Snapshot",
    "Source",
    "Store",
    "StoredFile",
    "TableReader",
    "Usage",
    "Write",
]
