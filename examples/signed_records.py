"""Profiles that only their owners can write: the key names the peer that has to sign.

python examples/signed_records.py serve                                    the first node; prints its address
python examples/signed_records.py write "I sail." --key-file ada.key --bootstrap ADDRESS
                                                                           publishes a profile; prints its owner's id
python examples/signed_records.py read OWNER --bootstrap ADDRESS           shows it, if the owner signed it
python examples/signed_records.py forge OWNER "I sink." --bootstrap ADDRESS
                                                                           signs it with another key; nobody takes it
"""

from __future__ import annotations

import argparse
import sys
import time

import trio

import p2pkad

DAY = 24 * 3600.0
DOMAIN = "profiles.example"
"""What these signatures are for: one made for another purpose does not count, whoever made it."""


def profile_key(owner: str) -> bytes:
    return f"/profile/{owner}".encode()


def only_its_owner(key: bytes, signer: p2pkad.PeerId) -> bool:
    """The rule of the namespace. Every node that stores profiles has to have the same."""
    return key == profile_key(str(signer))


HONEST = p2pkad.SignedRecordValidator(domain=DOMAIN, authorised=only_its_owner)
CARELESS = p2pkad.SignedRecordValidator(domain=DOMAIN)


def signed_profile(identity: p2pkad.Identity, owner: str, text: str) -> bytes:
    now = int(1000 * time.time())
    return p2pkad.sign_record(identity, profile_key(owner), text.encode(), sequence=now, lifetime=DAY, domain=DOMAIN)


async def serve(node: p2pkad.KademliaService) -> None:
    print(node.addresses[0], "Ctrl-C ends it.", sep="\n", flush=True)
    await trio.sleep_forever()


async def write(node: p2pkad.KademliaService, identity: p2pkad.Identity, text: str) -> None:
    owner = str(identity.id)
    receipt = await node.put_value(profile_key(owner), signed_profile(identity, owner, text), min_stored=2)
    print(owner)
    print("held by", *receipt.stored, file=sys.stderr)


async def read(node: p2pkad.KademliaService, owner: str) -> None:
    key = profile_key(owner)
    record = p2pkad.open_record(key, await node.get_value(key), domain=DOMAIN)
    print(f"{record.value.decode()}  (until {time.strftime('%F %T', time.localtime(record.expires))})")


async def forge(node: p2pkad.KademliaService, identity: p2pkad.Identity, owner: str, text: str) -> None:
    """Our own node would refuse it, too: this one was told to be careless. The others are not."""
    receipt = await node.put_value(profile_key(owner), signed_profile(identity, owner, text))
    print(f"{len(receipt.refused)} refused it, {len({*receipt.stored} - {node.id})} took it")


async def main(options: argparse.Namespace) -> None:
    """Open a node, and do what was asked for."""
    identity = p2pkad.Identity.load_or_create(options.key_file) if options.key_file else p2pkad.Identity.generate()
    rules = CARELESS if options.do == "forge" else HONEST
    async with p2pkad.open_node(
        listen=[options.listen], bootstrap=options.bootstrap, validators={"profile": rules}, identity=identity
    ) as node:
        if options.do != "serve":
            await node.wait_ready(timeout=30)
        match options.do:
            case "serve":
                await serve(node)
            case "write":
                await write(node, identity, options.text)
            case "read":
                await read(node, options.owner)
            case "forge":
                await forge(node, identity, options.owner, options.text)


def parse_arguments() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--key-file", help="made when there is none; without one, the key is new each time")
    common.add_argument("--listen", default="/ip4/127.0.0.1/tcp/0", metavar="ADDRESS", help="default: %(default)s")
    common.add_argument("--bootstrap", default=[], action="append", metavar="ADDRESS", help="of a node that is there")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="do", required=True)
    for name, arguments in {"serve": (), "write": ("text",), "read": ("owner",), "forge": ("owner", "text")}.items():
        command = commands.add_parser(name, parents=[common])
        for argument in arguments:
            command.add_argument(argument)
    return parser.parse_args()


if __name__ == "__main__":
    given = parse_arguments()
    try:
        trio.run(main, given, restrict_keyboard_interrupt_to_checkpoints=True)
    except KeyboardInterrupt:
        pass
    except p2pkad.P2pkadError as error:
        sys.exit(f"{type(error).__name__}: {error}")
