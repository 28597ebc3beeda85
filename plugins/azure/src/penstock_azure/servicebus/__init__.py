"""Queues of Azure Service Bus: AMQP 1.0, messages under locks that are renewed."""
