"""Which computer, which image and which disks an order means, and that what could be two is refused."""

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from imaging import matching, orders
from imaging.disk import Content, Disk, DiskId, Mount, PartitionTable, Role, TableKind
from imaging.errors import RefusedError, RescueError, UsageError
from imaging.imageplans import CapturePlan, VerifyPlan
from imaging.manifest import Image, ImagedDisk, Machine, Volume
from imaging.matching import Found, Named
from imaging.notes import NOTHING, FactoryState, Notes, Verification
from imaging.orders import DiskMatch, Match
from imaging.restoreplans import RestorePlan, Wipe
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_table, an_image, an_imaged_disk

HERE = Machine(vendor="Dell Inc.", model="OptiPlex 7050", serial="ABC1234", firmware="uefi")


def disk(name: str, serial: str = "", **changes: Any) -> Disk:
    identity = DiskId(
        size=changes.pop("size", 2 * GIB), model="SomeDisk 1000", serial=serial, wwn=changes.pop("wwn", "")
    )
    return a_disk(path=f"/dev/{name}", id=identity, **changes)


STICK = disk("sdz", "STICK", transport="usb", roles=(Role.BOOT_MEDIUM, Role.LIBRARY))


@dataclass(frozen=True)
class Bad:
    id: str


def found(*disks: Disk, images: tuple[Image, ...] | None = None, damaged: tuple[Bad, ...] = ()) -> Found:
    return Found(
        machine=HERE,
        disks=(*disks, STICK),
        library=Path("/library"),
        files={},
        images=(an_image(),) if images is None else images,
        damaged=damaged,
    )


def refused(match: DiskMatch, *disks: Disk) -> RefusedError:
    with pytest.raises(RefusedError) as error:
        matching.find_disk(match, found(*disks))
    return error.value


@pytest.mark.parametrize(
    ("match", "ours"),
    [
        (Match(), True),
        (Match(vendor="dell*", product="OptiPlex ????"), True),
        (Match(product=("Latitude", "OptiPlex 7050")), True),
        (Match(serial="abc1234"), True),
        (Match(serial="ABC12345"), False),
        (Match(vendor="Dell*", serial="OTHER"), False),
        (Match(product="OptiPlex [67]050"), False),
    ],
)
def test_an_order_is_for_the_computers_that_it_names(match: Match, ours: bool) -> None:
    assert matching.is_for(match, HERE) is ours


def test_a_computer_that_says_nothing_of_itself_is_meant_by_no_name() -> None:
    assert not matching.is_for(Match(serial="*"), Machine())
    assert matching.is_for(Match(), Machine())


def test_of_several_orders_for_one_computer_none_is_chosen() -> None:
    order = orders.parse(b'version = 1\n[verify]\nimage = "newest"\n', "a")
    other = orders.parse(b'version = 1\n[match]\nserial = "X"\n[verify]\nimage = "newest"\n', "b")
    named = [Named(name="a.toml", digest="1", order=order), Named(name="b.toml", digest="2", order=other)]
    assert matching.choose(named, HERE) is named[0]
    assert matching.choose(named[1:], HERE) is None
    with pytest.raises(RefusedError, match=r"a\.toml, c\.toml") as error:
        matching.choose([*named, Named(name="c.toml", digest="3", order=order)], HERE)
    assert error.value.code == "ambiguous-order"


@pytest.mark.parametrize(
    "match",
    [
        DiskMatch(serial="b"),
        DiskMatch(serial=("X", "B")),
        DiskMatch(wwn="5002538E40A1B2C3"),
        DiskMatch(wwn="naa.5002538e40a1b2c3"),
        DiskMatch(size="3 GiB"),
        DiskMatch(min_size="3 GB"),
        DiskMatch(model="somedisk*", min_size=3 * GIB),
    ],
)
def test_a_disk_is_found_by_what_is_known_of_it(match: DiskMatch) -> None:
    b = disk("sdb", "B", size=3 * GIB, wwn="0x5002538e40a1b2c3")
    assert matching.find_disk(match, found(disk("sda", "A"), b)) is b


def test_two_equal_disks_are_refused_and_both_are_named() -> None:
    for match in (DiskMatch(size="2 GiB"), DiskMatch(model="SomeDisk 1000"), DiskMatch(only_internal=True)):
        error = refused(match, disk("sda", "A"), disk("sdb", "B"))
        assert error.code == "ambiguous-disk"
        assert "sda (SomeDisk 1000; A; 2.1 GB), sdb (SomeDisk 1000; B; 2.1 GB)" in error.message


def test_two_disks_that_bear_one_serial_number_are_refused() -> None:
    assert refused(DiskMatch(serial="0123456789"), disk("sda", "0123456789"), disk("sdb", "0123456789")).code == (
        "ambiguous-disk"
    )


def test_a_disk_that_is_not_there_is_refused() -> None:
    assert refused(DiskMatch(serial="C"), disk("sda", "A")).code == "no-such-disk"
    assert refused(DiskMatch(only_internal=True)).message == "no internal disk was found"


def test_the_only_internal_disk_is_none_behind_usb_and_no_removable_one() -> None:
    inner = disk("nvme0n1", "A", transport="nvme")
    others = (
        disk("sdb", "B", transport="usb"),
        disk("sdc", "C", removable=True),
        disk("mmcblk0boot0", transport="mmc"),
    )
    assert matching.find_disk(DiskMatch(only_internal=True), found(inner, *others)) is inner


def test_another_key_beside_the_only_internal_disk_has_to_hold_and_chooses_none_of_two() -> None:
    match = DiskMatch(only_internal=True, serial="A")
    assert matching.find_disk(match, found(disk("sda", "A"))).name == "sda"
    assert refused(match, disk("sda", "B")).code == "no-such-disk"
    assert refused(match, disk("sda", "A"), disk("sdb", "B")).code == "ambiguous-disk"


@pytest.mark.parametrize("roles", [(Role.BOOT_MEDIUM,), (Role.BOOT_MEDIUM, Role.LIBRARY), (Role.SYSTEM,)])
def test_the_disk_that_runs_this_system_is_one_of_two_that_an_order_could_mean(roles: tuple[Role, ...]) -> None:
    own = disk("sda", "A", roles=roles, kept=0 if Role.SYSTEM in roles else 4)
    for match in (DiskMatch(only_internal=True), DiskMatch(size="2 GiB"), DiskMatch(model="SomeDisk*")):
        assert refused(match, own, disk("sdb", "B")).code == "ambiguous-disk"
        # Alone it is found, and left to the planner, which has its own words.
        assert matching.find_disk(match, replace(found(own), disks=(own,))) is own


RESTORE = orders.parse(b'version = 1\n[restore]\nimage = "newest"\n[[restore.disk]]\nserial = "A"\n', "x")


def test_the_plan_of_a_restore_holds_the_disk_that_was_found() -> None:
    target = disk("sda", "A")
    plan = matching.plan_order(RESTORE, found(target, disk("sdb", "B")))
    assert isinstance(plan, RestorePlan)
    assert (plan.image, plan.targets[0].target, plan.read_back) == (an_image().id, target, True)


@pytest.mark.parametrize("role", list(Role))
def test_a_protected_disk_that_is_named_is_refused_as_such(role: Role) -> None:
    with pytest.raises(RefusedError) as error:
        matching.plan_order(RESTORE, found(disk("sda", "A", roles=(role,))))
    assert error.value.code == "protected-disk"


def test_a_disk_in_use_and_one_that_is_too_small_are_refused() -> None:
    used = disk("sda", "A", mounts=(Mount(source="/dev/sda1", where="/srv"),))
    for target, code in ((used, "in-use"), (disk("sda", "A", size=1 << 20), "target-too-small")):
        with pytest.raises(RefusedError) as error:
            matching.plan_order(RESTORE, found(target))
        assert error.value.code == code


def plan_of(text: str, here: Found) -> object:
    return matching.plan_order(orders.parse(text.encode(), "x"), here)


def test_an_image_of_two_disks_needs_to_be_told_which_goes_where() -> None:
    image = an_image(disks=(an_imaged_disk(), an_imaged_disk(name="sdb")))
    here = found(disk("sda", "A"), disk("sdb", "B"), images=(image,))
    head = 'version = 1\n[restore]\nimage = "newest"\n'
    parts = '[[restore.disk]]\nsource = "{}"\nserial = "{}"\n'
    plan = plan_of(head + parts.format("sda", "B") + parts.format("sdb", "A"), here)
    assert isinstance(plan, RestorePlan)
    assert [(t.source.name, t.target.name) for t in plan.targets] == [("sda", "sdb"), ("sdb", "sda")]
    for order, code in (
        (head + '[[restore.disk]]\nserial = "A"\n', "bad-order"),
        (head + parts.format("sda", "A") + parts.format("sda", "B"), "bad-order"),
        (head + parts.format("sda", "A") + parts.format("sdb", "A"), "same-disk-twice"),
        (head + parts.format("sdc", "A"), "no-such-disk"),
    ):
        with pytest.raises(RescueError) as error:
            plan_of(order, here)
        assert error.value.code == code


FACTORY = "version = 1\n[restore]\nfactory = true\n"
ON_A = '[[restore.disk]]\nserial = "A"\n'


def marked(**states: FactoryState) -> Found:
    """Three images, of which these are factory images."""
    images = tuple(an_image(id=name, created=f"2026-01-0{n}T00:00:00Z") for n, name in enumerate("cba", start=1))
    notes = {name: Notes(factory=state) for name, state in states.items()}
    return replace(found(disk("sda", "A"), disk("sdb", "B"), images=images[::-1]), notes=notes)


def restored(text: str, here: Found) -> str:
    plan = plan_of(text, here)
    assert isinstance(plan, RestorePlan)
    return plan.image


def test_the_factory_image_that_names_this_computer_most_exactly_is_meant() -> None:
    dell = FactoryState(match=Match(vendor="Dell*"))
    ours = FactoryState(match=Match(vendor="Dell*", product="OptiPlex*"))
    other = FactoryState(match=Match(serial="X"))
    assert restored(FACTORY + ON_A, marked(a=dell, b=ours, c=other)) == "b"
    assert restored(FACTORY + 'image = "a"\n' + ON_A, marked(a=dell, b=ours)) == "a"
    for states, code in (({"a": dell, "b": dell}, "ambiguous-image"), ({"c": other}, "no-factory-image")):
        with pytest.raises(RefusedError) as error:
            plan_of(FACTORY + ON_A, marked(**states))
        assert error.value.code == code
    for text in (FACTORY + 'image = "c"\n' + ON_A, FACTORY + 'label = "other"\n' + ON_A):
        with pytest.raises(RefusedError) as error:
            plan_of(text, marked(a=dell))
        assert error.value.code == "no-factory-image"


def test_a_factory_image_whose_disk_could_not_be_read_is_meant_by_its_id_alone() -> None:
    here = marked(a=FactoryState())
    here = replace(here, images=(an_image(id="a", disks=(an_imaged_disk(unreadable=((0, 512),)),)),))
    with pytest.raises(RefusedError) as error:
        plan_of(FACTORY + ON_A, here)
    assert error.value.code == "damaged-image"
    assert restored(FACTORY + 'image = "a"\n' + ON_A, here) == "a"


def test_a_factory_image_says_itself_which_disk_it_goes_to() -> None:
    plan = plan_of(FACTORY, marked(a=FactoryState(disk=DiskMatch(serial="B"))))
    assert isinstance(plan, RestorePlan)
    assert plan.targets[0].target.name == "sdb"
    with pytest.raises(RefusedError, match="says which disk it goes to"):
        plan_of(FACTORY, marked(a=FactoryState()))


def test_what_was_saved_before_a_restore_is_never_the_newest() -> None:
    here = replace(marked(), notes={"a": Notes(before="c")})
    text = 'version = 1\n[restore]\nimage = "{}"\n' + ON_A
    assert restored(text.format("newest"), here) == "b"
    assert restored(text.format("a"), here) == "a"


BAD = Notes(verified=Verification(when="2026-06-30T00:00:00Z", chunks=10, bad=1))


def test_what_was_found_bad_is_verified_again() -> None:
    plan = plan_of('version = 1\n[verify]\nimage = "newest"\n', replace(marked(), notes={"a": BAD}))
    assert isinstance(plan, VerifyPlan)
    assert plan.image == "a"


@pytest.mark.parametrize("changes", [{"notes": {"a": BAD}}, {"unnoted": frozenset("a")}])
def test_an_image_that_may_not_be_what_it_seems_is_meant_by_its_id_alone(changes: dict[str, Any]) -> None:
    text = 'version = 1\n[restore]\nimage = "{}"\n' + ON_A
    with pytest.raises(RefusedError) as error:
        plan_of(text.format("newest"), replace(marked(), **changes))
    assert error.value.code == "damaged-image"
    assert restored(text.format("a"), replace(marked(), **changes)) == "a"


def test_no_other_factory_image_takes_the_place_of_one_that_is_damaged() -> None:
    ours, dell = FactoryState(match=Match(vendor="Dell*", product="Opti*")), FactoryState(match=Match(vendor="Dell*"))
    bad = replace(marked(), notes={"a": replace(BAD, factory=ours), "b": Notes(factory=dell)})
    for here, code in (
        (bad, "damaged-image"),
        (replace(marked(b=dell), unnoted=frozenset("a")), "ambiguous-image"),
        (replace(marked(b=dell), damaged=(Bad("a"),)), "ambiguous-image"),
    ):
        with pytest.raises(RefusedError) as error:
            plan_of(FACTORY + ON_A, here)
        assert error.value.code == code
        assert restored(FACTORY + 'image = "b"\n' + ON_A, here) == "b"


def test_the_rule_of_a_factory_image_means_no_disk_that_is_not_built_in() -> None:
    here = marked(a=FactoryState(disk=DiskMatch(min_size="1 GB")))
    with pytest.raises(RefusedError, match="which is not built in"):
        plan_of(FACTORY, replace(here, disks=(disk("sdb", "B", transport="usb"),)))


def test_an_order_can_wipe_let_grow_and_save_first() -> None:
    here = marked(a=FactoryState())
    here = replace(here, disks=(disk("sda", "A", table=PartitionTable(kind=TableKind.NONE)),))
    plan = plan_of(FACTORY + 'wipe = "overwrite"\nsave_first = true\n' + ON_A, here)
    assert isinstance(plan, RestorePlan)
    assert (plan.wipe, plan.safety, plan.targets[0].growth) == (Wipe.OVERWRITE, "/library", None)
    with pytest.raises(RefusedError) as error:
        plan_of(FACTORY + "grow = true\n" + ON_A, here)
    assert error.value.code == "cannot-grow"


def test_an_order_can_have_a_partition_become_smaller_where_that_is_needed_and_grow_where_it_is_not() -> None:
    small = replace(marked(a=FactoryState()), disks=(disk("sda", "A", size=80 << 20),))
    with pytest.raises(RefusedError) as error:
        plan_of(FACTORY + ON_A, small)
    assert error.value.code == "target-too-small"
    volume = Volume(
        number=1, start=1 << 20, size=100 << 20, used=1 << 20, map_origin="rescue", content=Content(kind="ext4")
    )
    images = tuple(replace(image, disks=(an_imaged_disk(volumes=(volume,)),)) for image in small.images)
    small = replace(small, images=images)
    for words, number in (("true", 1), ("1", 1)):
        plan = plan_of(FACTORY + f"grow = true\nshrink = {words}\n" + ON_A, small)
        assert isinstance(plan, RestorePlan)
        (pair,) = plan.targets
        assert pair.shrinkage is not None
        assert (pair.shrinkage.partition, pair.shrinkage.size, pair.growth) == (number, 78 << 20, None)
    with pytest.raises(UsageError, match="no partition 2"):
        plan_of(FACTORY + "shrink = 2\n" + ON_A, small)
    for words, size in (('shrink = "1:50M"', 50 << 20), ('shrink = "1:50m"', 50 << 20)):
        for here in (small, replace(small, disks=(disk("sda", "A"),))):
            plan = plan_of(FACTORY + words + "\n" + ON_A, here)
            assert isinstance(plan, RestorePlan)
            assert plan.targets[0].shrinkage is not None
            assert plan.targets[0].shrinkage.size == size
    plan = plan_of(FACTORY + 'grow = "1:150M"\n' + ON_A, replace(small, disks=(disk("sda", "A"),)))
    assert isinstance(plan, RestorePlan)
    assert plan.targets[0].growth is not None
    assert plan.targets[0].growth.size == 150 << 20
    with pytest.raises(RefusedError, match="partition 1 becomes smaller"):
        plan_of(FACTORY + 'grow = "1:150M"\nshrink = true\n' + ON_A, small)
    plan = plan_of(FACTORY + "grow = true\nshrink = true\n" + ON_A, replace(small, disks=(disk("sda", "A"),)))
    assert isinstance(plan, RestorePlan)
    assert plan.targets[0].shrinkage is None
    assert plan.targets[0].growth is not None


def test_an_order_can_give_a_new_identity_and_a_name_with_the_serial_number() -> None:
    here = marked(a=FactoryState())
    part = a_table().partitions[0]
    content = Content(kind="swap", uuid=str(uuid.UUID(int=1)))
    volume = Volume(number=1, start=part.start, size=part.size, used=1 << 20, map_origin="header", content=content)
    images = tuple(replace(image, disks=(an_imaged_disk(volumes=(volume,)),)) for image in here.images)
    here = replace(here, images=images)
    words = FACTORY + 'new_identity = true\nhost_name = "pc-{serial}"\n' + ON_A
    plan = plan_of(words, replace(here, machine=replace(here.machine, serial="AB 12/x")))
    assert isinstance(plan, RestorePlan)
    assert plan.identity is not None
    assert plan.identity.host_name == "pc-ab-12-x"
    with pytest.raises(RefusedError, match="it has none"):
        plan_of(words, replace(here, machine=replace(here.machine, serial="")))
    plan = plan_of(FACTORY + ON_A, here)
    assert isinstance(plan, RestorePlan)
    assert plan.identity is None


def test_an_order_can_leave_partitions_as_they_are() -> None:
    parts = (a_partition(1), a_partition(2, 200 * MIB, 100 * MIB))
    volumes = tuple(Volume(number=p.number, start=p.start, size=p.size, used=MIB, map_origin="rescue") for p in parts)
    source = an_imaged_disk(table=a_table(*parts), volumes=volumes)
    target = disk("sda", "A", table=a_table(*parts))
    here = replace(found(target, images=(an_image(disks=(source,)),)))
    text = 'version = 1\n[restore]\nlabel = "PC"\nkeep = [2]\n' + ON_A
    plan = plan_of(text, here)
    assert isinstance(plan, RestorePlan)
    assert [(p.volume, p.partition) for p in plan.targets[0].partitions] == [(1, 1)]
    for other, code in ((a_table(parts[0]), "no-such-partition"), (a_table(*parts, a_partition(3)), "other-layout")):
        with pytest.raises(RescueError) as error:
            plan_of(text, replace(here, disks=(disk("sda", "A", table=other),)))
        assert error.value.code == code


def test_an_order_can_leave_a_partition_that_the_image_does_not_know() -> None:
    parts = (a_partition(1), a_partition(2, 200 * MIB, 100 * MIB))
    source = an_imaged_disk(
        table=a_table(parts[0]),
        volumes=(Volume(number=1, start=parts[0].start, size=parts[0].size, used=MIB, map_origin="rescue"),),
    )
    target = disk("sda", "A", table=a_table(*parts))
    here = found(target, images=(an_image(disks=(source,)),))
    plan = plan_of('version = 1\n[restore]\nlabel = "PC"\nkeep = [2]\n' + ON_A, here)
    assert isinstance(plan, RestorePlan)
    assert [(p.volume, p.partition) for p in plan.targets[0].partitions] == [(1, 1)]
    moved = replace(parts[0], size=parts[0].size + MIB)
    with pytest.raises(RefusedError, match="not laid out as the image is: 1"):
        plan_of(
            'version = 1\n[restore]\nlabel = "PC"\nkeep = [2]\n' + ON_A,
            replace(here, disks=(disk("sda", "A", table=a_table(moved, parts[1])),)),
        )


def cut_off(*, saved: str = "s", part: bool = False) -> tuple[Disk, Image]:
    """A disk onto which a restore of image `a` was begun, and what that has saved."""
    parts = (a_partition(1), a_partition(2, 200 * MIB, 100 * MIB))
    table = a_table(parts[0], replace(parts[1], unfinished="a", saved=saved))
    target = disk("sda", "A", table=table)
    if not part:
        target = replace(target, table=PartitionTable(kind=TableKind.NONE), unfinished="a", saved=saved)
    volumes = tuple(Volume(number=p.number, start=p.start, size=p.size, used=MIB, map_origin="rescue") for p in parts)
    source = an_imaged_disk(id=target.id, table=a_table(*parts), volumes=volumes)
    return target, an_image(id="s", disks=(source,))


def safety_of(target: Disk, safe: Image, noted: Notes, keys: str = "", factory_disk: ImagedDisk | None = None) -> str:
    whole = factory_disk or cut_off()[1].disks[0]
    factory = an_image(id="a", disks=(replace(whole, id=an_imaged_disk().id),))
    notes = {"a": Notes(factory=FactoryState()), "s": noted}
    here = replace(found(target, images=(safe, factory)), notes=notes)
    plan = plan_of(FACTORY + f"save_first = true\n{keys}\n" + ON_A, here)
    assert isinstance(plan, RestorePlan)
    return plan.safety


def test_what_was_saved_before_it_was_cut_off_is_not_saved_again() -> None:
    """Nor is anything taken for saved that is not, proved, of all of it, by that very restore."""
    target, safe = cut_off()
    noted = Notes(before="a")
    assert safety_of(target, safe, noted) == ""
    (source,) = safe.disks
    for one, image, notes in (
        (target, safe, Notes(before="a", void=True)),
        (target, safe, Notes(before="b")),
        (target, safe, NOTHING),
        (replace(target, saved=""), safe, noted),
        (replace(target, saved="other"), safe, noted),
        (replace(target, unfinished="b"), safe, noted),
        (replace(target, unfinished="", saved=""), safe, noted),
        (target, replace(safe, disks=(replace(source, id=disk("sdb", "B").id),)), noted),
        (target, replace(safe, disks=(replace(source, volumes=source.volumes[:1]),)), noted),
    ):
        assert safety_of(one, image, notes) == "/library"


def test_of_partitions_all_that_are_erased_were_saved_or_all_are() -> None:
    target, safe = cut_off(part=True)
    (source,) = safe.disks
    second = replace(safe, disks=(replace(source, volumes=source.volumes[1:]),))
    noted = Notes(before="a")
    assert safety_of(target, second, noted, "keep = [1]") == ""
    assert safety_of(target, replace(safe, disks=(replace(source, volumes=source.volumes[:1]),)), noted, "keep = [1]")
    # The same order without the partition that was to stay: that one was saved by nobody.
    assert safety_of(target, second, noted) == "/library"
    # A partition that another restore has left half done says nothing of the others.
    assert safety_of(target, safe, noted) == "/library"
    # Of several, one was completed, or not come to: it may hold something new.
    parts = (*target.table.partitions, a_partition(3, 400 * MIB, 100 * MIB))
    volumes = tuple(Volume(number=p.number, start=p.start, size=p.size, used=MIB, map_origin="rescue") for p in parts)
    wide = replace(source, table=a_table(*parts), volumes=volumes)
    marked = (parts[0], parts[1], replace(parts[2], unfinished="a", saved="s"))
    for table, saved in ((a_table(*parts), "/library"), (a_table(*marked), "")):
        there = replace(target, table=table)
        assert safety_of(there, replace(safe, disks=(wide,)), noted, "keep = [1]", wide) == saved


def test_with_several_disks_all_were_saved_or_all_are() -> None:
    names = ("sda", "sdb")
    image = an_image(id="a", disks=tuple(an_imaged_disk(name=name) for name in names))
    bare = PartitionTable(kind=TableKind.NONE)
    half = disk("sda", "A", table=bare, unfinished="a", saved="s")
    whole = disk("sdb", "B", table=bare)
    volume = Volume(number=1, start=MIB, size=100 * MIB, used=MIB, map_origin="rescue")
    safe = an_image(id="s", disks=tuple(an_imaged_disk(id=one.id, volumes=(volume,)) for one in (half, whole)))
    notes = {"a": Notes(factory=FactoryState()), "s": Notes(before="a")}
    here = replace(found(half, whole, images=(safe, image)), notes=notes)
    rows = "".join(f'[[restore.disk]]\nsource = "{n}"\nserial = "{s}"\n' for n, s in zip(names, "AB", strict=True))
    for disks, saved in (((half, whole), "/library"), ((half, replace(whole, unfinished="a", saved="s")), "")):
        plan = plan_of(FACTORY + "save_first = true\n" + rows, replace(here, disks=disks))
        assert isinstance(plan, RestorePlan)
        assert plan.safety == saved


def test_captures_and_verifications_are_planned() -> None:
    capture = plan_of(
        'version = 1\n[capture]\nlabel = "L"\nlevel = "fast"\n[[capture.disk]]\nserial = "A"\n', found(disk("sda", "A"))
    )
    assert isinstance(capture, CapturePlan)
    assert (capture.label, capture.level, capture.disks[0].name) == ("L", 1, "sda")
    verify = plan_of('version = 1\n[verify]\nlabel = "PC"\ncheck = true\n', found())
    assert isinstance(verify, VerifyPlan)
    assert (verify.image, verify.check) == (an_image().id, True)


OLD = an_image(id="20250101-000000-aaaa", created="2025-01-01T00:00:00Z", label="PC", machine=HERE)
NEW = an_image(id="20260101-000000-bbbb", created="2026-01-01T00:00:00Z", label="PC")
OTHER = an_image(id="20250601-000000-cccc", created="2025-06-01T00:00:00Z", label="Lab")


def image_of(keys: str, images: tuple[Image, ...] = (NEW, OTHER, OLD), damaged: tuple[Bad, ...] = ()) -> str:
    order = orders.parse(f"version = 1\n[verify]\n{keys}\n".encode(), "x")
    assert isinstance(order.work, orders.Verify)
    return matching.find_image(order.work, found(images=images, damaged=damaged)).id


@pytest.mark.parametrize(
    ("keys", "image"),
    [
        ('image = "newest"', NEW.id),
        ('image = "newest"\nlabel = "PC"', NEW.id),
        ('image = "newest"\nlabel = "PC"\nthis_computer = true', OLD.id),
        ('label = "Lab"', OTHER.id),
        (f'image = "{OLD.id}"', OLD.id),
    ],
)
def test_an_image_is_found_by_id_label_age_and_computer(keys: str, image: str) -> None:
    assert image_of(keys) == image


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ('label = "PC"', "ambiguous-image"),
        ('label = "pc"', "no-such-image"),
        ('image = "nothing"', "no-such-image"),
        (f'image = "{OLD.id}"\nlabel = "Lab"', "no-such-image"),
        (f'image = "{NEW.id}"\nthis_computer = true', "no-such-image"),
    ],
)
def test_an_image_that_is_not_there_or_could_be_two_is_refused(keys: str, code: str) -> None:
    with pytest.raises(RefusedError) as error:
        image_of(keys)
    assert error.value.code == code


def test_a_damaged_image_that_may_be_the_newest_is_not_passed_over() -> None:
    with pytest.raises(RefusedError, match="may be the newest"):
        image_of('image = "newest"', damaged=(Bad("20270101-000000-dddd"),))
    assert image_of('image = "newest"', damaged=(Bad("20240101-000000-dddd"),)) == NEW.id
    assert image_of(f'image = "{NEW.id}"', damaged=(Bad("20270101-000000-dddd"),)) == NEW.id


def test_an_image_with_unreadable_parts_is_restored_only_where_its_id_is_given() -> None:
    torn = an_image(disks=(an_imaged_disk(unreadable=((0, 512),)),))
    with pytest.raises(RefusedError, match="is damaged"):
        image_of('image = "newest"', (torn,))
    assert image_of(f'image = "{torn.id}"', (torn,)) == torn.id


def test_two_images_of_one_second_are_no_newest() -> None:
    with pytest.raises(RefusedError, match="none is the newest"):
        image_of('image = "newest"', (NEW, an_image(id="20260101-000000-eeee", created=NEW.created)))


def test_a_file_that_an_order_names_is_no_device() -> None:
    with pytest.raises(RescueError) as error:
        matching.refuse_unless_file("/dev/sda", disk("sda"))
    assert error.value.code == "bad-order"
