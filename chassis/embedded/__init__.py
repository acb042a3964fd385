"""A real Kafka and a real Postgres for one machine, from Python packages.

A person who tries backout, and every test, needs the servers that production has, not
imitations of them, on a machine with neither Java nor Docker. The jars and the JDK, and
Postgres's programs, come in packages; what is here starts them on free ports, under one
state directory, and sees to it that they end with the process that started them.
"""
