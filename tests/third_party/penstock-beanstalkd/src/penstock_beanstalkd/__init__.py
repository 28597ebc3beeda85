"""Queues on beanstalkd for Penstock."""

__version__ = "0.1.0"
