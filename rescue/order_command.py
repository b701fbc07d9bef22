"""`rescue order FILE`: what an order comes to on this computer, and carrying it out where it is confirmed."""

from argparse import Namespace
from pathlib import Path

from imaging import circumstances, inventory, matching, ordersource, planner, web
from imaging.blockdev import real_path
from imaging.errors import ExitStatus, RefusedError
from imaging.restoreplans import RestorePlan
from rescue import commands, report
from rescue.finding import library_at
from rescue.language import _


def order(options: Namespace) -> int:
    """Check an order, or carry it out; what it erases is named by whoever runs it, as for any other restore.

    The order alone is the confirmation only where the live system starts with it.
    """
    where = options.order
    named = ordersource.fetch(where) if web.is_address(where) else ordersource.read(real_path(where))
    machine = inventory.machine()
    if not matching.is_for(named.order.match, machine):
        raise RefusedError(
            f"the order {named.name} is for other computers",
            code="not-here",
            hint="it can be understood; compare its [match] with this computer's vendor, product and serial number",
        )
    library: Path | None = library_at(options.library) if options.library else None
    plan = circumstances.plan_order(named.order, circumstances.look(named.order, machine, library))
    if options.json and not options.run_it:
        commands.print_json({"order": named.name, "digest": named.digest, "plan": plan})
    elif not options.json:
        commands.print_lines(report.plan_lines(plan, planner.seconds_expected(plan)))
    if not options.run_it:
        if not options.json:
            print(_("This is what the order does on this computer. Nothing was done."))
        return ExitStatus.DONE
    if isinstance(plan, RestorePlan):
        commands.confirm(plan, options)
    return commands.carry_out(plan, options)
