"""The network in virtual time: hosts in one process that exchange messages, with latency, loss and all that goes wrong."""

from p2pkad.net.simulated.host import Lie, SimulatedHost, home
from p2pkad.net.simulated.links import Latency
from p2pkad.net.simulated.network import SimulatedNetwork
from p2pkad.net.simulated.trace import Trace
from p2pkad.net.simulated.world import World

__all__ = ["Latency", "Lie", "SimulatedHost", "SimulatedNetwork", "Trace", "World", "home"]
