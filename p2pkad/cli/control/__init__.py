"""The control socket: how commands ask a node that runs in another process. docs/control.md has what travels on it.

lines     what a line says: requests and answers as JSON
server    the end of the node
client    the end of the command
"""
