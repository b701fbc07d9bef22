"""A disk that gets an identity of its own, to stand beside its original, in words."""

from imaging.cloning import LUKS
from imaging.events import Renewed
from imaging.restoreplans import RestorePlan
from rescue.formats import clean, format_count
from rescue.language import _, ngettext
from rescue.telling import told

INDENT = "    "


def identity_lines(plan: RestorePlan) -> list[str]:
    """What gets a new id, what does not, and what runs for that; nothing where all stays as in the image."""
    identity = plan.identity
    if identity is None:
        return []
    lines = [_("NEW IDENTITY: this disk can stand beside its original")]
    if identity.partitions:
        lines.append(INDENT + _("new ids of the disk and its partitions"))
    if identity.volumes:
        named = ", ".join(f"{one.number} ({one.kind})" for one in identity.volumes)
        lines.append(INDENT + _("new ids of what stands on partitions {partitions}").format(partitions=named))
    for one in identity.kept:
        words = _("partition {number} ({kind}) keeps its id: {why}")
        lines.append(INDENT + words.format(number=one.number, kind=clean(one.kind), why=clean(told(one.why))))
    if any(one.kind == LUKS for one in identity.volumes):
        lines.append(INDENT + _("what is encrypted keeps its ids: do not unlock both at a time"))
    lines.append(INDENT + _("in Linux systems on it: settings, boot menus, machine id, ssh host keys"))
    lines.append(INDENT + _("what these name by a label, or as /dev/sda2, stays, and may mean the original"))
    if identity.host_name:
        lines.append(INDENT + _("the computer is called {name} from then on").format(name=clean(identity.host_name)))
    else:
        lines.append(INDENT + _("the computer is called as in the image, and so may the original be"))
    return [
        *lines,
        _("RUN: the restored system's own program makes its initramfs anew, as root,"),
        INDENT + _("without this computer's disks, files and network: trust the image"),
    ]


def renewed_figures(renewed: Renewed | None) -> list[str]:
    """What came of a new identity."""
    if renewed is None:
        return []
    words = ngettext("New identity: {count} id", "New identity: {count} ids", renewed.ids)
    lines = [words.format(count=format_count(renewed.ids))]
    if renewed.files:
        lines.append(_("Changed for that: {files}").format(files=clean(", ".join(renewed.files))))
    return [*lines, *(_("Not renewed: {what}").format(what=clean(told(one))) for one in renewed.not_done)]
