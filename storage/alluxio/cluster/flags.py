"""The properties with which each process of a local Alluxio starts."""

from __future__ import annotations

from typing import Final

from alluxio_lance.storage.alluxio.cluster.plan import ClusterPlan

__all__ = ["MAIN_CLASSES", "jvm_flags", "properties"]

MAIN_CLASSES: Final = {
    "master": "alluxio.master.AlluxioMaster",
    "worker": "alluxio.worker.AlluxioWorker",
    "proxy": "alluxio.proxy.AlluxioProxy",
}
"""In the order in which they start."""

_FIXED: Final = {
    "alluxio.master.journal.type": "UFS",
    "alluxio.master.metastore": "HEAP",
    "alluxio.worker.tieredstore.levels": "1",
    "alluxio.worker.tieredstore.level0.alias": "MEM",
    # By default all users of the machine may write there, and so change what others read.
    "alluxio.worker.data.folder.permissions": "rwx------",
    # Through the cache to the under-store before a write is acknowledged: nothing acknowledged is in memory alone.
    "alluxio.user.file.writetype.default": "CACHE_THROUGH",
    # Files that appear in the under-store behind Alluxio's back are seen, and those that went are not waited for.
    "alluxio.user.file.metadata.sync.interval": "0",
    # The second version of the S3 service swallows every call of the REST service.
    "alluxio.proxy.s3.v2.version.enabled": "false",
    "alluxio.security.authorization.permission.enabled": "false",
    "alluxio.underfs.allow.set.owner.failure": "true",
    # What was freed or loaded is visible soon.
    "alluxio.worker.block.heartbeat.interval": "100ms",
    "alluxio.master.worker.connect.wait.time": "0sec",
    # With the only worker or the master down, a caller is told so while he still waits: Alluxio's own limits are minutes,
    # and in the end nobody could have helped him.
    "alluxio.user.block.read.retry.max.duration": "20sec",
    "alluxio.user.rpc.retry.max.duration": "20sec",
    "alluxio.master.worker.timeout": "30sec",
    # It would call home.
    "alluxio.master.update.check.enabled": "false",
    "alluxio.user.metrics.collection.enabled": "false",
    "alluxio.web.ui.enabled": "false",
}
_FAST: Final = {
    "alluxio.master.journal.tailer.shutdown.quiet.wait.time": "50ms",
    "alluxio.master.journal.tailer.sleep.time": "100ms",
    "alluxio.user.rpc.retry.base.sleep": "50ms",
    "alluxio.user.rpc.retry.max.sleep": "200ms",
    "alluxio.user.block.read.retry.max.duration": "5sec",
    "alluxio.user.rpc.retry.max.duration": "8sec",
    "alluxio.master.worker.timeout": "10sec",
}
_LOGGING: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="console" target="SYSTEM_OUT">
      <PatternLayout pattern="%d{ISO8601} %-5p %c{1} - %m%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="console"/></Root>
  </Loggers>
</Configuration>
"""


def properties(plan: ClusterPlan) -> dict[str, str]:
    """Return Alluxio's properties, the same for all three processes."""
    home, ports = str(plan.folder), plan.ports
    hosts = {f"alluxio.{name}.hostname": "localhost" for name in ("master", "worker", "user", "proxy.web")}
    binds = {
        f"alluxio.{name}.bind.host": "127.0.0.1"
        for name in ("master", "master.web", "worker", "worker.web", "proxy.web")
    }
    return {
        "alluxio.work.dir": home,
        **hosts,
        **binds,
        "alluxio.master.rpc.port": str(ports.master),
        "alluxio.master.web.port": str(ports.master_web),
        "alluxio.worker.rpc.port": str(ports.worker),
        "alluxio.worker.web.port": str(ports.worker_web),
        "alluxio.proxy.web.port": str(ports.proxy),
        "alluxio.master.journal.folder": f"{home}/journal",
        "alluxio.master.mount.table.root.ufs": plan.root,
        "alluxio.worker.tieredstore.level0.dirs.path": str(plan.tier),
        "alluxio.worker.tieredstore.level0.dirs.quota": str(plan.tier_bytes),
        "alluxio.worker.ramdisk.size": str(plan.tier_bytes),
        "alluxio.user.block.size.bytes.default": str(plan.block_bytes),
        **_FIXED,
        **(_FAST if plan.small else {}),
        **{f"alluxio.master.mount.table.root.option.{key}": value for key, value in plan.under_store_options.items()},
    }


def jvm_flags(plan: ClusterPlan) -> list[str]:
    """Return the flags of each JVM."""
    heap = plan.heap_bytes >> 20
    flags = [
        f"-Xmx{heap}m",
        f"-XX:MaxDirectMemorySize={heap}m",
        # The S3 service writes local time with the mark of UTC.
        "-Duser.timezone=UTC",
        "-Djava.net.preferIPv4Stack=true",
        f"-Dlog4j2.configurationFile={plan.folder}/conf/log4j2.xml",
    ]
    return [*flags, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"] if plan.small else flags


def logging_configuration() -> str:
    """Return the configuration of Alluxio's logging: everything to the process' own output."""
    return _LOGGING
