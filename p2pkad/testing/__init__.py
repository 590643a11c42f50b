"""For the tests of those who build on p2pkad.

`STORE_PROMISES`: what every store promises (`p2pkad.store.base`), one short check each. A store of one's own keeps them when
this passes, under trio:

    @pytest.mark.parametrize("promise", p2pkad.testing.STORE_PROMISES)
    async def test_my_store_keeps_its_promises(promise):
        await promise(MyStore)

A promise that is not kept raises AssertionError, or what the store raised where it should not.

`open_simulated_network`: nodes in virtual time, and everything that may befall them; `run_simulated`: runs that repeat
themselves. docs/testing.md shows both at work.
"""

from p2pkad.testing import store_bounds, store_own, store_peers, store_providers, store_records, store_time
from p2pkad.testing.networks import SimulatedNodes, open_simulated_network
from p2pkad.testing.runs import run_simulated
from p2pkad.testing.stores import MakeStore, Promise

__all__ = ["STORE_PROMISES", "MakeStore", "Promise", "SimulatedNodes", "open_simulated_network", "run_simulated"]

STORE_PROMISES: tuple[Promise, ...] = (
    *store_records.SUITE,
    *store_time.SUITE,
    *store_bounds.SUITE,
    *store_providers.SUITE,
    *store_own.SUITE,
    *store_peers.SUITE,
)
"""What every store promises."""
