"""A score as a table, as JSON and as JUnit's XML, which course systems read."""

import re
from xml.etree import ElementTree

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")


def as_text(exercises):
    """Return a table, and below it a line for every test that earned nothing."""
    rows = [f"{e.name:<14}{e.points:>5g} of {e.possible:g}{_measured(e)}" for e in exercises]
    for exercise in exercises:
        for test in exercise.tests:
            if test.outcome != "passed":
                first = (test.message.splitlines() or [""])[0]
                rows.append(f"  {exercise.name}: {test.name} {test.outcome}: {first}")
    points, possible = total(exercises)
    return "\n".join([*rows, f"{points:g} of {possible:g} points"])


def _measured(exercise):
    return "".join(f"   {key} {value}" for key, value in exercise.properties.items())


def total(exercises):
    """Return (points, possible points)."""
    return sum(e.points for e in exercises), sum(e.possible for e in exercises)


def as_document(folder, exercises):
    """Return what JSON holds."""
    points, possible = total(exercises)
    return {
        "folder": str(folder),
        "points": points,
        "possible": possible,
        "exercises": {
            e.name: {
                "points": e.points,
                "possible": e.possible,
                "seconds": e.seconds,
                "properties": e.properties,
                "tests": {
                    t.name: {"points": t.points, "possible": t.possible, "outcome": t.outcome, "message": t.message}
                    for t in e.tests
                },
            }
            for e in exercises
        },
    }


def as_junit(exercises):
    """Return JUnit's XML as text: a suite for each exercise."""
    suites = ElementTree.Element("testsuites")
    for exercise in exercises:
        counts = {
            kind: sum(test.outcome == kind for test in exercise.tests) for kind in ("failed", "skipped", "not run")
        }
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=exercise.name,
            tests=str(len(exercise.tests)),
            failures=str(counts["failed"]),
            errors=str(counts["not run"]),
            skipped=str(counts["skipped"]),
            time=str(exercise.seconds),
        )
        for test in exercise.tests:
            case = ElementTree.SubElement(
                suite, "testcase", classname=exercise.name, name=test.name, time=str(test.seconds)
            )
            kind = {"failed": "failure", "skipped": "skipped", "not run": "error"}.get(test.outcome)
            if kind:
                text = NOT_XML.sub("?", test.message)
                ElementTree.SubElement(case, kind, message=(text.splitlines() or [""])[0]).text = text
            properties = ElementTree.SubElement(case, "properties")
            for key, value in (("points", test.points), ("possible", test.possible)):
                ElementTree.SubElement(properties, "property", name=key, value=f"{value:g}")
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"
