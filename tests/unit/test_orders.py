"""What an order can say, and what is refused in it with which words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging import orders
from imaging.errors import RescueError, UsageError
from imaging.orders import After, Capture, Order, Restore, Verify

RESTORE = 'version = 1\n[restore]\nimage = "newest"\n'
FACTORY = "version = 1\n[restore]\nfactory = true\n"
ONE_DISK = RESTORE + "[[restore.disk]]\nonly_internal = true\n"


def parse(text: str) -> Order:
    return orders.parse(text.encode(), "x.toml")


def refusal(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(UsageError) as error:
        orders.parse(data, "x.toml")
    assert error.value.code == "bad-order"
    assert error.value.message.startswith("the order x.toml")
    return error.value.message.removeprefix("the order x.toml")


def test_a_short_order_has_careful_defaults() -> None:
    order = parse(ONE_DISK)
    assert isinstance(order.work, Restore)
    assert (order.countdown, order.after, order.on_failure, order.once) == (30, After.MENU, After.MENU, True)
    assert (order.work.library, order.work.read_back) == ("stick", True)


def test_an_order_can_say_everything() -> None:
    order = parse(
        """
        version = 1
        name = "Classroom"
        countdown = 0
        after = "power-off"
        on_failure = "power-off"
        once = false
        report = "https://deploy.example/results?room=7"
        [match]
        vendor = "Dell*"
        product = ["OptiPlex 7050", "OptiPlex 7060"]
        serial = "ABC1234"
        [login]
        user = "reader"
        password = "geheim"
        [restore]
        library = "smb://server/images"
        label = "Classroom"
        image = "newest"
        this_computer = false
        read_back = false
        [[restore.disk]]
        source = "sda"
        serial = ["A", "B"]
        [[restore.disk]]
        source = "sdb"
        min_size = "480 GB"
        max_size = "1 TB"
        """
    )
    assert isinstance(order.work, Restore)
    assert [disk.source for disk in order.work.disk] == ["sda", "sdb"]
    assert order.work.disk[1].sizes == (480 * 10**9, 10**12)
    assert "geheim" not in repr(order)


def test_what_windows_editors_do_to_a_file_does_no_harm() -> None:
    assert orders.parse(b"\xef\xbb\xbf" + ONE_DISK.replace("\n", "\r\n").encode(), "x.toml").restore


def test_captures_and_verifications_can_be_ordered() -> None:
    assert isinstance(parse('version = 1\n[capture]\nlevel = 9\n[[capture.disk]]\nserial = "S"\n').work, Capture)
    assert isinstance(parse('version = 1\n[verify]\nimage = "newest"\ndeep = true\n').work, Verify)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "this program reads orders that say version = 1"),
        ("version = 2", ", line 1 cannot be understood: this program reads orders that say version = 1"),
        ("version = true", ", line 1 cannot be understood: this program reads"),
        ("version = 1.0", ", line 1 cannot be understood: this program reads"),
        ("version = 1", "it needs one of [restore], [capture] and [verify], and has none"),
        (
            ONE_DISK + '[verify]\nimage = "newest"',
            "and has restore and verify",
        ),
        (ONE_DISK + "[extra]", ", line 6 cannot be understood: there is no key extra"),
        ("countdwon = 5\n" + ONE_DISK, ", line 1 cannot be understood: there is no key countdwon"),
        (
            RESTORE + "[[restore.disk]]\nserail = 'S'",
            ", line 5 cannot be understood: there is no key restore.disk[0].serail",
        ),
        (RESTORE + "[[restore.disk]]\nserial = 5", ", line 5 cannot be understood: restore.disk[0].serial: "),
        (RESTORE + "[[restore.disk]]\nserial = ''", ", line 5 cannot be understood: restore.disk[0].serial: "),
        (RESTORE + "[[restore.disk]]\nserial = []", ", line 5 cannot be understood: restore.disk[0].serial: "),
        (ONE_DISK + "[[restore.disk]]\nsource = 'sdb'", "it does not say which disk"),
        (ONE_DISK + "[[restore.disk]]\nsource = 'sdb'", ", line 6 cannot be understood"),
        (RESTORE + "[[restore.disk]]\nonly_internal = false", "it does not say which disk"),
        (RESTORE, ", line 2 cannot be understood: [restore] does not say which disk"),
        (RESTORE + "disk = []", "[restore] does not say which disk"),
        (RESTORE + "factory = true", ", line 3 cannot be understood: of factory images none is the newest one"),
        (FACTORY + "library = 'HTTPS://server/x'\nsave_first = true", ", line 5 cannot be understood: a web server"),
        (RESTORE + "save_first = true\n[[restore.disk]]\nserial = 'S'", "needs a label, too"),
        (RESTORE + "keep_files = ['homes']\n[[restore.disk]]\nserial = 'S'", "needs a label, too"),
        (RESTORE + "keep_files = ['all']\n[[restore.disk]]\nserial = 'S'", "keep_files"),
        (RESTORE + "keep = [4]\nkeep_files = ['homes']\nlabel = 'a'\n[[restore.disk]]\nserial = 'S'", "and no keep"),
        (FACTORY + "keep = [2]\ngrow = true", ", line 4 cannot be understood: where partitions stay, none grows"),
        (FACTORY + "keep = [0]", ", line 4 cannot be understood: restore.keep"),
        (FACTORY + "keep = [2]" + 2 * "\n[[restore.disk]]\nserial = 'S'", "partitions stay on one disk"),
        (FACTORY + "host_name = 'pc'", ", line 4 cannot be understood: host_name is for a restore with new_identity"),
        (FACTORY + "keep = [2]\nnew_identity = true", "a new identity is given where one whole disk is restored"),
        (FACTORY + "grow = 0", ", line 4 cannot be understood: restore.grow: "),
        (FACTORY + "grow = '2:much'", ", line 4 cannot be understood: restore.grow: "),
        (FACTORY + "shrink = '0:2G'", ", line 4 cannot be understood: restore.shrink: "),
        (FACTORY + "grow = true\nshrink = '2:2G'", "one partition of one disk gets another size"),
        (FACTORY + "wipe = 'purge'", ", line 4 cannot be understood: restore.wipe: "),
        (RESTORE + "[[restore.disk]]\nsize = '500'", "'500' is not a size"),
        (RESTORE + "[[restore.disk]]\nsize = '5 XB'", "'5 XB' is not a size"),
        (RESTORE + "[[restore.disk]]\nsize = -5", ", line 5 cannot be understood: restore.disk[0].size: "),
        (RESTORE + "[[restore.disk]]\nsize = '5 GB'\nmin_size = 5", "not both"),
        (RESTORE + "[[restore.disk]]\nmin_size = '5 GB'\nmax_size = '4 GB'", "min_size is more than max_size"),
        (RESTORE + "[[restore.disk]]\nfile = 'disk.img'", "a whole path"),
        (RESTORE + "[[restore.disk]]\nfile = '/disk.img'\nserial = 'S'", "by its path alone"),
        ("version = 1\n[restore]\n[[restore.disk]]\nserial = 'S'", "does not say which image: give image or label"),
        ("version = 1\n[capture]\n[[capture.disk]]\nserial = 'S'\nsource = 'sda'", "source is a key of"),
        ("version = 1\n[capture]\nlevel = 20\n[[capture.disk]]\nserial = 'S'", "compression level 20 is not known"),
        ("after = 'explode'\n" + ONE_DISK, ", line 1 cannot be understood: after: "),
        ("on_failure = 'reboot'\n" + ONE_DISK, "on_failure cannot be reboot"),
        ("one_start = true\n" + ONE_DISK, "one_start is not for restores"),
        ("countdown = -1\n" + ONE_DISK, ", line 1 cannot be understood: countdown: "),
        ("countdown = 999999\n" + ONE_DISK, ", line 1 cannot be understood: countdown: "),
        ("report = 'ftp://server/'\n" + ONE_DISK, "report is not an address that begins with http://"),
        ("report = 'https://me:geheim@server/'\n" + ONE_DISK, ", line 1 cannot be understood: report is not"),
        (ONE_DISK + ONE_DISK, "it is not TOML"),
        ("version = \n", "it is not TOML: Invalid value (line 1, column 11)"),
        ("version = " + "1" * 5000, "it is not TOML"),
        ("version = " + "[" * 5000, "it is nested too deeply"),
        (b"version = 1 # \xff", "it is not UTF-8"),
        ("#" * (orders.MOST_BYTES + 1), "it has more than 65536 bytes"),
    ],
)
def test_what_is_wrong_is_refused_with_its_key_and_line(text: str | bytes, words: str) -> None:
    assert words in refusal(text)


def test_no_complaint_repeats_a_password() -> None:
    for rest in ('password = "geheim"x', 'password = ["geheim"]', 'password = "geheim"\ngeheim2 = 1\nuser = 7'):
        assert '"geheim"' not in refusal(ONE_DISK + "[login]\n" + rest)


@pytest.mark.parametrize(
    ("words", "least", "most"),
    [("500 GB", 495 * 10**9, 505 * 10**9), ("32GiB", int(0.99 * 2**35), int(1.01 * 2**35)), (512, 512, 512)],
)
def test_a_size_with_a_unit_is_met_within_a_hundredth(words: str | int, least: int, most: int) -> None:
    sizes = orders.DiskMatch(size=words).sizes
    assert sizes is not None
    assert abs(sizes[0] - least) <= 1
    assert abs(sizes[1] - most) <= 1


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_stands_in_a_file_is_an_order_or_refused(data: bytes) -> None:
    try:
        assert orders.parse(data, "x.toml").work
    except RescueError as error:
        assert error.code == "bad-order"


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(ONE_DISK)), st.text(max_size=8))
def test_whatever_is_changed_in_an_order_is_an_order_or_refused(place: int, extra: str) -> None:
    text = ONE_DISK[:place] + extra + ONE_DISK[place:]
    try:
        assert orders.parse(text.encode(errors="surrogatepass"), "x.toml").work
    except RescueError as error:
        assert error.code == "bad-order"
