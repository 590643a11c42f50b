"""What is tried between implementations, one small function each: it plays the scene and says what was seen.

The order is the one in which a network plays them. Finding peers comes first: who has met somebody answers from memory.
"""

from scenarios import modes, peers, providers, streams, values

SCENARIOS = {scenario.name: scenario for scenario in (*peers.ALL, *values.ALL, *providers.ALL, *streams.ALL, *modes.ALL)}
