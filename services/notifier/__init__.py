"""The notifier: tells the people of the communication plan what a rollback does, each thing once."""
