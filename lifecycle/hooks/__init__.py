"""Hooks: who is told before and after a verb, and cannot stop it."""

from alluxio_lance.lifecycle.hooks.notifier import Notifier, NotifierStatistics

__all__ = ["Notifier", "NotifierStatistics"]
