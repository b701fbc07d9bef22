"""Shows the whole path: a machine is captured, and restored from a USB stick onto a blank disk.

Sets this computer up, builds a small sample machine, captures it with `rescue capture`,
builds the stick with that image on it, and boots the stick in QEMU beside a blank disk, the
machine's serial console in this terminal. The first start takes some minutes, later ones
seconds. In the menu: Restore an image, choose the image, choose the Demo Disk, confirm;
then Power off. `live-image/demo --boot-restored` boots what was restored, without the stick.
"""

import argparse

from .demo import disk_path, prepare, run_machine
from .process import BuildError, die
from .qemu import Accelerator, Firmware

LEAVE = """\
The machine's serial console follows in this terminal; under emulation the menu takes about a minute.
To leave at any moment press Ctrl+A, then X. Otherwise choose "Power off" in the menu when you are done.
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="live-image/demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--firmware", type=Firmware, choices=list(Firmware), default=Firmware.BIOS)
    parser.add_argument("--fresh", action="store_true", help="start with a blank disk again")
    parser.add_argument("--boot-restored", action="store_true", help="boot the restored disk, without the stick")
    parser.add_argument(
        "--accelerator",
        type=Accelerator,
        choices=list(Accelerator),
        default=Accelerator.TCG,
        help="kvm is many times faster where this computer can do it (default: tcg, which works everywhere)",
    )
    parser.add_argument("--screen", action="store_true", help="open a window with the machine's screen as well")
    parser.add_argument("--prepare-only", action="store_true", help="stop before QEMU is started")
    return parser.parse_args()


def show(options: argparse.Namespace) -> None:
    if options.boot_restored:
        if not disk_path().exists():
            raise BuildError("there is no restored disk yet", hint="run live-image/demo first")
        print("The restored disk boots alone. Log in as root with the password rescue;")
        print("cat /etc/rescue-marker shows the mark of the machine it was captured from.\n")
    else:
        prepare(fresh=options.fresh)
        if options.prepare_only:
            return
    print(LEAVE, flush=True)
    run_machine(options.firmware, options.accelerator, with_stick=not options.boot_restored, screen=options.screen)
    if not options.boot_restored:
        again = f"live-image/demo --boot-restored --firmware {options.firmware}"
        print(f"\nThe machine is off. Once a restore has ended, its disk boots without the stick: {again}")


if __name__ == "__main__":
    try:
        show(arguments())
    except BuildError as error:
        die(error)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
