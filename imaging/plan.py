"""Plans: what a job is to do, in full, as values that can be shown, stored and compared; here, any of them."""

import msgspec

from imaging.errors import UsageError
from imaging.imageplans import (
    CapturePlan,
    CopyImagesPlan,
    DeletePlan,
    ExportPlan,
    FilesPlan,
    ImportPlan,
    PrunePlan,
    VerifyPlan,
    VerifySetPlan,
)
from imaging.planversion import VERSION
from imaging.recoveryplans import InstallPlan, MediaGrowPlan, MediaIsoPlan, MediaPlan, RemovePlan
from imaging.repairplans import RepairPlan
from imaging.restoreplans import RestorePlan

Plan = (
    CapturePlan
    | ImportPlan
    | RestorePlan
    | VerifyPlan
    | VerifySetPlan
    | DeletePlan
    | PrunePlan
    | FilesPlan
    | ExportPlan
    | CopyImagesPlan
    | MediaPlan
    | MediaGrowPlan
    | MediaIsoPlan
    | InstallPlan
    | RemovePlan
    | RepairPlan
)


_decoder: msgspec.json.Decoder[Plan] = msgspec.json.Decoder(Plan)


def encode(plan: Plan) -> bytes:
    """Render as JSON."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n"


def decode(data: bytes) -> Plan:
    """Parse a plan; raises UsageError where it is not one, or of another version."""
    try:
        plan = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"this is not a plan: {error}", code="bad-plan") from error
    if plan.version != VERSION:
        raise UsageError(f"plan version {plan.version} is not known to this program", code="bad-plan")
    return plan


def kind(plan: Plan) -> str:
    """The plan's kind, as events and the plan's own JSON name it."""
    return str(plan.__struct_config__.tag)
