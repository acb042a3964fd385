"""Playbooks from their files: what is read, and what is said about what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from chassis.errors import ConfigErrors
from chassis.settings import ExecutorSettings
from services.executor.adapters.playbook_files import load_playbooks
from services.executor.domain.plan import execution_id_of, plan_hash, plan_of
from services.executor.domain.playbook import HttpCall, Process, Validate, Wait

SHIPPED = Path(__file__).parents[3] / "config" / "playbooks"
SETTINGS = ExecutorSettings(
    targets={"docrag": "http://127.0.0.1:1"}, allowed_commands=[["/usr/bin/systemctl", "restart"]]
)
GOOD = """\
playbook: extractor
deadline: 15m
steps:
  - id: one
    http.call: {method: PUT, url: "{target.docrag}/x", json: {a: 1}, honours: [epoch]}
    observe: {http.check: {url: "{target.docrag}/x", expect: {json: {a: 1}}}}
  - id: two
    process: {argv: [/usr/bin/systemctl, restart, extractor]}
    timeout: 5s
  - id: three
    wait: {for: 500ms}
"""


def write(directory: Path, text: str, name: str = "extractor") -> Path:
    (directory / f"{name}.yml").write_text(text, encoding="utf-8")
    return directory


def test_the_shipped_playbook_is_the_plans() -> None:
    playbooks = load_playbooks(SHIPPED, SETTINGS)
    playbook = playbooks.by_component["pdf_extraction"]
    validate = playbook.step("validate-extraction").action

    assert [step.id for step in playbook.steps] == [
        "disable-enhanced-extractors",
        "restore-original-extractor",
        "validate-extraction",
        "update-routing",
        "see-that-it-answers",
    ]
    assert playbook.mode == "auto"
    assert playbook.on_failure == "full_system"
    assert isinstance(validate, Validate)
    assert [(limit.name, limit.at_least, limit.at_most) for limit in validate.limits] == [
        ("accuracy", 0.95, None),
        ("seconds_per_page", None, 1.0),
    ]
    assert all(step.fenced for step in plan_of(playbook))
    assert len(playbooks.warnings) == 1
    assert "there is no playbook full_system" in playbooks.warnings[0]


def test_a_playbook_is_read_with_its_defaults(tmp_path: Path) -> None:
    playbook = load_playbooks(write(tmp_path, GOOD), SETTINGS).by_component["extractor"]
    one, two, three = playbook.steps

    assert (playbook.deadline_s, playbook.mode, playbook.preserves_data) == (900.0, "auto", False)
    assert isinstance(one.action, HttpCall)
    assert (one.timeout_s, one.retry.attempts, one.repeatable, one.fenced) == (60.0, 3, False, True)
    assert isinstance(two.action, Process)
    assert (two.timeout_s, two.repeatable, two.fenced) == (5.0, False, False)
    assert three.action == Wait(seconds=0.5)
    words = [(item.reversible, item.fenced, item.description) for item in plan_of(playbook)]
    assert words == [
        (False, True, 'PUT {target.docrag}/x {"a": 1}'),
        (False, False, "run /usr/bin/systemctl restart extractor"),
        (True, True, "wait 0.5 s"),
    ]


def test_the_plans_hash_is_of_what_it_says_not_of_how_it_is_written(tmp_path: Path) -> None:
    texts = (GOOD, "# a comment\n" + GOOD, GOOD.replace("15m", "16m"))
    read = [load_playbooks(write(tmp_path, text), SETTINGS).by_component["extractor"] for text in texts]
    hashes = [plan_hash(playbook) for playbook in read]

    assert hashes[0] == hashes[1] != hashes[2]


def test_a_request_leads_to_one_execution_id() -> None:
    assert execution_id_of("command-1") == execution_id_of("command-1")
    assert len({execution_id_of("a"), execution_id_of("b"), execution_id_of("a", component="b")}) == 3


def test_no_directory_holds_no_playbooks(tmp_path: Path) -> None:
    assert load_playbooks(tmp_path / "absent", SETTINGS).by_component == {}


def test_a_validation_may_stand_after_the_steps(tmp_path: Path) -> None:
    suite = """\
suites:
  known:
    http.call: {method: POST, url: "{target.docrag}/v"}
    checks: [{name: accuracy, value: a, at_least: 0.9}]
validate: {suite: known}
"""
    playbook = load_playbooks(write(tmp_path, GOOD + suite), SETTINGS).by_component["extractor"]

    assert playbook.steps[-1].id == "validate"
    assert plan_of(playbook)[-1].description == "run the suite known: accuracy >= 0.9"


STEP = "  - id: one\n    wait: {for: 1s}\n"
HEAD = "playbook: extractor\ndeadline: 15m\n"
URL = '"{target.docrag}/x"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "stepz: []\nsteps:\n" + STEP, "extractor.yml:3: unknown key 'stepz'. Did you mean 'steps'?"),
        (HEAD, "extractor.yml:1: the key 'steps' is missing"),
        (HEAD + "steps: []\n", "extractor.yml:3: has no steps"),
        (HEAD.replace("15m", "15") + "steps:\n" + STEP, "extractor.yml:2: 15 is no duration"),
        (HEAD.replace("15m", "soon") + "steps:\n" + STEP, "extractor.yml:2: 'soon' is no duration"),
        (HEAD.replace("15m", "0s") + "steps:\n" + STEP, "extractor.yml:2: 0s is out of range"),
        (HEAD + "steps:\n" + STEP + STEP, "two steps are called 'one'"),
        (HEAD + "mode: approve\nsteps:\n" + STEP, "the mode approve is not available in this version"),
        (HEAD + "mode: manual\nsteps:\n" + STEP, "extractor.yml:3: 'manual' is not known here"),
        (HEAD.replace("extractor", "other") + "steps:\n" + STEP, "Call the file other.yml"),
        (
            HEAD + "steps:\n  - id: one\n    kubernetes.patch: {}\n",
            "extractor.yml:5: the action kubernetes.patch is not available in this version",
        ),
        (HEAD + "steps:\n  - id: one\n", "extractor.yml:4: a step has one action, this one has none"),
        (
            HEAD + "steps:\n" + STEP.replace("for: 1s", "for: 1s}\n    process: {argv: [x]"),
            "a step has one action, this one has 2",
        ),
        (HEAD + "steps:\n" + STEP.replace("one", "Step One"), "'Step One' is no step's id"),
        (HEAD + "steps:\n" + STEP + "    timeout: 5s\n", "a wait has no timeout"),
        (
            HEAD + f"steps:\n  - id: one\n    http.call: {{method: PUT, url: {URL}}}\n",
            "extractor.yml:5: an http.call needs an observe",
        ),
        (
            HEAD + 'steps:\n  - id: one\n    http.check: {url: "http://elsewhere/x"}\n',
            "'http://elsewhere/x' is no address below a target",
        ),
        (
            HEAD + 'steps:\n  - id: one\n    http.check: {url: "{target.docrag}/../x"}\n',
            "is no address below a target",
        ),
        (
            HEAD + 'steps:\n  - id: one\n    http.check: {url: "{target.other}/x"}\n',
            "there is no target 'other' in the settings",
        ),
        (
            HEAD + 'steps:\n  - id: one\n    http.check: {url: "{target.docrag}/{secret}"}\n',
            "{secret} stands for nothing",
        ),
        (
            HEAD + "steps:\n  - id: one\n"
            f"    http.call: {{method: PUT, url: {URL}, json: {{a: '{{prior.a}}'}}}}\n"
            f"    observe: {{http.check: {{url: {URL}}}}}\n",
            "{prior.a} is known only in the json of an undo",
        ),
        (
            HEAD + "steps:\n  - id: one\n    process: {argv: [/bin/rm, -rf, /]}\n",
            "'/bin/rm -rf /' is not among the allowed commands",
        ),
        (
            HEAD + "steps:\n  - id: one\n    process: {argv: [/usr/bin/systemctl, restart]}\n"
            "    undo: {process: {argv: [/usr/bin/systemctl, restart]}}\n",
            "cannot be seen to be undone",
        ),
        (HEAD + "steps:\n  - id: one\n    validate: {suite: s}\n", "there is no suite 's'"),
        (
            HEAD + f"suites:\n  s:\n    http.call: {{method: POST, url: {URL}}}\n"
            "    checks: [{name: a, value: a}]\nsteps:\n" + STEP,
            "extractor.yml:6: has no limit",
        ),
        (HEAD + "steps:\n" + STEP + "    retry: {attempts: 0}\n", "attempts are 1 to 20"),
        (HEAD + "on_failure: {rollback: extractor}\nsteps:\n" + STEP, "circle: extractor → extractor"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_playbooks(write(tmp_path, text), SETTINGS)

    assert said in str(caught.value)


def test_several_mistakes_are_all_named(tmp_path: Path) -> None:
    write(tmp_path, HEAD.replace("15m", "soon") + "mode: x\nsteps:\n  - id: one\n    git.restore: {}\n")
    write(tmp_path, "playbook: full_system\ndeadline: 1h\nsteps:\n" + STEP, "full_system")
    with pytest.raises(ConfigErrors) as caught:
        load_playbooks(tmp_path, SETTINGS)

    assert len(caught.value.errors) == 4
    assert "the rollback of the full system is not available in this version" in str(caught.value)


def test_a_longer_circle_of_on_failure_is_found(tmp_path: Path) -> None:
    for name, after in (("a", "b"), ("b", "c"), ("c", "b")):
        text = f"playbook: {name}\ndeadline: 1m\non_failure: {{rollback: {after}}}\nsteps:\n" + STEP
        write(tmp_path, text, name)
    with pytest.raises(ConfigErrors) as caught:
        load_playbooks(tmp_path, SETTINGS)

    assert "b → c → b" in str(caught.value)


def test_without_settings_targets_are_not_asked_for(tmp_path: Path) -> None:
    text = GOOD.replace("docrag", "unheard_of")

    assert "extractor" in load_playbooks(write(tmp_path, text)).by_component


def test_a_playbook_in_two_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "extractor.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConfigErrors, match=r"there is also extractor\.yml"):
        load_playbooks(tmp_path, SETTINGS)


def test_one_playbook_is_read_without_the_others(tmp_path: Path) -> None:
    write(tmp_path, "playbook: broken\n", "broken")

    assert set(load_playbooks(write(tmp_path, GOOD), only="extractor").by_component) == {"extractor"}
