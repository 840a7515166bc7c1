"""Label Studio's JSON: regions out as tasks with a contact sheet each, annotations back in as verdicts."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from defuse.errors import VerdictError
from defuse.label.aggregate import name_of
from defuse.label.exchange import contact_sheet
from defuse.label.json_exchange import read_json_file
from defuse.label.store import regions_fingerprint
from defuse.records import Answer, Purpose, Region, Regions, Verdict
from defuse.rundir import write_bytes, write_json, write_text

_FROM, _TO = "answer", "tiles"


def export_label_studio(
    path: Path,
    regions: Regions,
    class_names: Sequence[str],
    verdicts: Sequence[Verdict] = (),
    *,
    inline: bool = True,
) -> None:
    """Write one task per region, and beside it NAME.xml, the labelling interface to set up in Label Studio.

    Args:
        path: the JSON file.
        regions: the reported ones become tasks, in rank order.
        class_names: one name per class; in the tasks a class goes by ``class:INDEX``, since names may be alike.
        verdicts: people's become annotations; without, nobody sees what others said.
        inline: whether contact sheets lie in the tasks themselves; else in the folder NAME-sheets, which Label Studio
            must be told to serve.

    Raises:
        RunError: a file cannot be written.
    """
    tasks = [
        _task(number, region, _sheet(path, regions, region, inline=inline), regions, class_names, verdicts)
        for number, region in enumerate(regions.reported, start=1)
    ]
    write_text(path.with_suffix(".xml"), labelling_interface(class_names))
    write_json(path, tasks)


def labelling_interface(class_names: Sequence[str]) -> str:
    """Return the labelling interface as Label Studio's XML."""
    choices = [(f"class:{index}", name) for index, name in enumerate(class_names)]
    choices += [(answer.value, answer.value) for answer in Answer if answer is not Answer.CLASS]
    rows = "\n".join(f"    <Choice alias={quoteattr(alias)} value={quoteattr(name)}/>" for alias, name in choices)
    return (
        f'<View>\n  <Header value="$question"/>\n  <Image name="{_TO}" value="$image" zoom="true"/>\n'
        f'  <Choices name="{_FROM}" toName="{_TO}" choice="single-radio" showInLine="true" required="true">\n'
        f"{rows}\n  </Choices>\n</View>\n"
    )


def import_label_studio(path: Path, regions: Regions, class_names: Sequence[str]) -> tuple[Verdict, ...]:
    """Read the annotations of a Label Studio JSON export; skipped ones and tasks without any give no verdict.

    An annotator goes by e-mail, else by name, else as ``user ID``.

    Raises:
        VerdictError: naming the file, the task and what is wrong.
    """
    tasks = read_json_file(path)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise VerdictError(f"{path}: expected a list of tasks; export from Label Studio as JSON")
    known = {region.name for region in regions.reported}
    verdicts = []
    for number, task in enumerate(tasks, start=1):
        data = task.get("data")
        region = data.get("region") if isinstance(data, dict) else None
        if not isinstance(region, str) or region not in known:
            raise VerdictError(f"{path}: task {number}: data.region {region!r} is none of the run's {len(known)}")
        if data.get("regions") != regions_fingerprint(regions):
            raise VerdictError(f"{path}: task {number}: made from other regions than this run's; export anew")
        for annotation in task.get("annotations") or []:
            verdict = _verdict(annotation, region, class_names, f"{path}: task {number}")
            verdicts += [] if verdict is None else [verdict]
    return tuple(verdicts)


def _sheet(path: Path, regions: Regions, region: Region, *, inline: bool) -> str:
    samples = regions.samples.get((region.name, Purpose.SHOW))
    if samples is None or not len(samples):
        return ""
    sheet = contact_sheet(samples.images)
    if inline:
        return f"data:image/png;base64,{base64.b64encode(sheet).decode()}"
    file = path.with_name(f"{path.stem}-sheets") / f"{region.name}.png"
    write_bytes(file, sheet)
    return file.relative_to(path.parent).as_posix()


def _task(
    number: int, region: Region, image: str, regions: Regions, class_names: Sequence[str], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    said = [verdict for verdict in verdicts if verdict.region == region.name and not verdict.machine]
    shows, says = name_of(region.label, class_names), name_of(region.predicted, class_names)
    return {
        "id": number,
        "data": {
            "region": region.name,
            "regions": regions_fingerprint(regions),
            "image": image,
            "question": f"What do most of these show? Proposed: {shows}; the model says {says}.",
            "shows": shows,
            "model_says": says,
        },
        "annotations": [_annotation(verdict) for verdict in said if not verdict.adjudicates],
    }


def _annotation(verdict: Verdict) -> dict[str, Any]:
    choice = verdict.answer.value if verdict.label is None else f"class:{verdict.label}"
    return {
        "completed_by": {"email": verdict.annotator},
        "created_at": verdict.time,
        "was_cancelled": False,
        "result": [{"from_name": _FROM, "to_name": _TO, "type": "choices", "value": {"choices": [choice]}}],
    }


def _verdict(annotation: Any, region: str, class_names: Sequence[str], where: str) -> Verdict | None:
    if not isinstance(annotation, dict):
        raise VerdictError(f"{where}: expected annotations as mappings, got {type(annotation).__name__}")
    if annotation.get("was_cancelled"):
        return None
    answer, label = _choice(annotation, class_names, where)
    time = annotation.get("created_at")
    if not isinstance(time, str):
        raise VerdictError(f"{where}: annotation without created_at; export from Label Studio as JSON")
    return Verdict(region, _annotator(annotation.get("completed_by"), where), answer, label, machine=False, time=time)


def _choice(annotation: Mapping[str, Any], class_names: Sequence[str], where: str) -> tuple[Answer, int | None]:
    try:
        (choice,) = [
            one
            for part in annotation["result"]
            if part["type"] == "choices" and part["from_name"] == _FROM
            for one in part["value"]["choices"]
        ]
    except (KeyError, TypeError, ValueError):
        raise VerdictError(f"{where}: expected one choice for {_FROM!r}; use the interface beside the tasks") from None
    others = {answer.value: answer for answer in Answer if answer is not Answer.CLASS}
    if isinstance(choice, str) and choice in others:
        return others[choice], None
    classes = {name: index for index, name in enumerate(class_names)}
    classes |= {f"class:{index}": index for index in range(len(class_names))}
    if not isinstance(choice, str) or choice not in classes:
        raise VerdictError(f"{where}: choice {choice!r} is no class; use the interface beside the tasks")
    return Answer.CLASS, classes[choice]


def _annotator(completed_by: Any, where: str) -> str:
    if isinstance(completed_by, int):
        return f"user {completed_by}"
    if isinstance(completed_by, dict):
        names = [completed_by.get(part) or "" for part in ("first_name", "last_name")]
        found = completed_by.get("email") or " ".join(names).strip()
        if isinstance(found, str) and found.strip():
            return found
        if isinstance(completed_by.get("id"), int):
            return f"user {completed_by['id']}"
    raise VerdictError(f"{where}: annotation without an annotator (completed_by); export from Label Studio as JSON")
