"""A small document-RAG service, protected by a rollback plan in the demonstration.

It stands for "any other system": it shares no code with the control plane that watches it but the client of
its circuit breakers, and meets it only over Kafka (samples, logs, breakers) and HTTP (control endpoints).
"""
