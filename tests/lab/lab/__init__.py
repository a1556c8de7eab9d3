"""The lab's inside: runs as root where PPP, namespaces and nftables are, and plays the scenes there.

Knows nothing of guests and kernels: ../run has seen to that.
"""
