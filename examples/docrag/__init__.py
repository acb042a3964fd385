"""A small document-RAG service, protected by a rollback plan in the demonstration.

It stands for "any other system": it knows nothing about the control plane that watches it, shares no code
with it, and meets it only over Kafka (samples and logs) and HTTP (control endpoints).
"""
