"""`rescue key` and `rescue sign`: keys that sign images, which of them are trusted here, and signing an image."""

import argparse
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from imaging import keyfiles, trust, vouching
from imaging.blockdev import real_path
from imaging.errors import ExitStatus
from imaging.signingkeys import PublicKey, name_of_owner
from rescue import passphrases
from rescue.commands import print_json, print_lines
from rescue.finding import find
from rescue.formats import clean, columns
from rescue.language import _
from rescue.signed import key_words, signed_words
from rescue.unlocking import unlock


def add_keys(
    found: "argparse._SubParsersAction[argparse.ArgumentParser]", parents: Sequence[argparse.ArgumentParser]
) -> None:
    """The commands `key` and `sign`; `parents` are the options `--json` and `--library`."""
    json, library = parents
    top = found.add_parser("key", help=_("make keys that sign images, and choose whose images are trusted here"))
    under = top.add_subparsers(metavar="COMMAND", dest="key_command", required=True)
    new = under.add_parser("new", parents=[json], help=_("make a key: FILE, which is secret, and FILE.pub"))
    new.add_argument("file", metavar="FILE", help=_("where the secret half goes; it is not overwritten"))
    new.add_argument("--name", default="", metavar="TEXT", help=_("whose key it is, for people"))
    new.add_argument("--passphrase", action="store_true", help=_("ask for a passphrase that protects it"))
    words = _("a file that holds the new passphrase, in place of typing it")
    new.add_argument("--new-passphrase-file", metavar="FILE", help=words)
    new.set_defaults(run=new_key)
    show = under.add_parser("show", parents=[json], help=_("show a key: its id, and its public half"))
    show.add_argument("file", metavar="FILE", help=_("the file of either half"))
    show.set_defaults(run=show_key)
    words = _("trust a key: from then on only images that a trusted key has signed are restored here")
    trusting = under.add_parser("trust", parents=[json], help=words)
    trusting.add_argument("file", metavar="FILE", help=_("the file of its public half"))
    trusting.add_argument("--name", metavar="TEXT", help=_("what it is called here (default: as in the file)"))
    trusting.set_defaults(run=trust_key)
    listing = under.add_parser("list", parents=[json], help=_("list the keys that are trusted here"))
    listing.set_defaults(run=list_keys)
    untrust = under.add_parser("untrust", parents=[json], help=_("trust a key no more"))
    untrust.add_argument("key", metavar="KEY", help=_("its id, the beginning of it, or its name"))
    untrust.set_defaults(run=untrust_key)

    sign = found.add_parser("sign", parents=[json, library], help=_("sign an image, so that others can trust it"))
    sign.add_argument("image", metavar="IMAGE")
    sign.add_argument("--key", required=True, metavar="FILE", help=_("the secret half of the key"))
    sign.add_argument(
        "--replace", action="store_true", help=_("in place of the signatures that are there, not beside them")
    )
    sign.set_defaults(run=sign_image)


def new_key(options: Namespace) -> int:
    """`rescue key new FILE`."""
    path = real_path(options.file)
    name = name_of_owner(options.name)
    file = options.new_passphrase_file
    words = passphrases.new(file) if options.passphrase or file else ""
    key = keyfiles.make(path, name, words.encode())
    if options.json:
        print_json({"file": str(path), **_value(key)})
        return ExitStatus.DONE
    other = clean(path.name + keyfiles.PUBLIC)
    print_lines(
        [
            _("Made the key {key}.").format(key=key_words(key)),
            _("{path} signs: keep it where nobody else can read it.").format(path=clean(str(path))),
            _("{path} is for everybody who is to trust it: rescue key trust {path}").format(path=other),
        ]
    )
    return ExitStatus.DONE


def _value(key: PublicKey) -> dict[str, str]:
    return {"id": key.id, "name": key.name, "public": key.pem}


def _public_half(path: Path) -> PublicKey:
    return unlock(str(path)).public if keyfiles.is_private(path) else keyfiles.read_public(path)


def show_key(options: Namespace) -> int:
    """`rescue key show FILE`."""
    key = _public_half(real_path(options.file))
    if options.json:
        print_json(_value(key))
    else:
        print_lines([key_words(key), *key.pem.splitlines()])
    return ExitStatus.DONE


def trust_key(options: Namespace) -> int:
    """`rescue key trust FILE`."""
    path = real_path(options.file)
    found = keyfiles.read_public(path)
    key = PublicKey(raw=found.raw, name=found.name if options.name is None else name_of_owner(options.name))
    trust.trust(key)
    if options.json:
        print_json(_value(key))
        return ExitStatus.DONE
    words = _("Trusted from now on: {key}. Compare these figures with those of whoever gave you the key.")
    print_lines([words.format(key=key_words(key)), _("Only images that a trusted key has signed are restored here.")])
    return ExitStatus.DONE


def list_keys(options: Namespace) -> int:
    """`rescue key list`."""
    medium = {key.raw for key in trust.on_medium()}
    keys = trust.trusted()
    if options.json:
        print_json({"keys": [{**_value(key), "medium": key.raw in medium} for key in keys]})
    elif keys:
        where = {True: _("on the medium that this system was started from"), False: _("on this computer")}
        print_lines(columns([[key.id, clean(key.name) or "-", where[key.raw in medium]] for key in keys]))
    else:
        print(_("No key is trusted here: images are restored whoever has made them."))
    return ExitStatus.DONE


def untrust_key(options: Namespace) -> int:
    """`rescue key untrust KEY`."""
    key = trust.untrust(options.key)
    if options.json:
        print_json(_value(key))
        return ExitStatus.DONE
    print(_("Not trusted any more: {key}.").format(key=key_words(key)))
    if not trust.trusted():
        print(_("No key is trusted here: images are restored whoever has made them."))
    return ExitStatus.DONE


def sign_image(options: Namespace) -> int:
    """`rescue sign IMAGE --key FILE`."""
    found = find(options)
    standing = vouching.sign(found.library.path, found.image.id, unlock(options.key), anew=options.replace)
    if options.json:
        print_json({"library": str(found.library.path), "id": found.image.id, "signature": standing})
    else:
        image = clean(found.image.id)
        print(_("Image {image}: {what}.").format(image=image, what=signed_words(standing)))
    return ExitStatus.DONE
