"""The testbed's domain model as pure data and functions.

Plan, connection, membership, hashing, bucket tables, events, forecast. Nothing here
touches a machine, a switch or a file. Every other folder may import it.
"""
