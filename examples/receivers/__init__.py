"""Local receivers of announcements: a Slack workspace, a Statuspage account and an SMTP server.

They answer as the real APIs do, reads included, and keep what they are given, so that a demo
ends with a mailbox and a status page to look at and a test can ask what arrived.
"""
