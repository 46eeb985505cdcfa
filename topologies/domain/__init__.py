"""The nouns of the testbed, pure and beneath everything: what a cluster is, and decides.

Plan, connection, membership, hashing, bucket tables, forecast. Nothing here touches a
machine, a switch or a file, and every other folder may import it.
"""
