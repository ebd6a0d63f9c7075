"""Mutants of what is decided, told and asked: rules, engine, execution, command line."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_RULES = ("tests/unit/test_conclusions.py", "tests/unit/test_retries.py", "tests/unit/test_decisions.py")
_EXPRESSIONS = ("tests/unit/test_expressions.py",)
_DRIVER = ("tests/integration/test_driver.py", "tests/unit/test_turn.py", "tests/unit/test_slots.py")
_QUERIES = ("tests/integration/test_queries.py",)
_CLI = ("tests/integration/test_cli.py",)
_ACCEPTANCE = ("tests/unit/test_acceptance.py",)
_REQUESTS = ("tests/unit/test_requests.py", "tests/integration/test_dropbox.py", "tests/integration/test_client.py")

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "lost attempts lengthen the next delay",
        "hybrid_engine/rules/conclusions.py",
        "max(1, tries - step.lost)",
        "max(1, tries)",
        _RULES,
    ),
    Mutant(
        "a late result counts for the attempt after it",
        "hybrid_engine/rules/conclusions.py",
        " or step.attempt != outcome.number:",
        ":",
        _RULES,
    ),
    Mutant(
        "a lost attempt uses up the policy's attempts",
        "hybrid_engine/rules/retries.py",
        "    return attempts - lost < retry.attempts",
        "    return attempts < retry.attempts",
        _RULES,
    ),
    Mutant(
        "a delay has no cap",
        "hybrid_engine/rules/retries.py",
        "    seconds = min(seconds, limit.total_seconds())\n",
        "",
        _RULES,
    ),
    Mutant(
        "a retry waits for as long as the clock was set back",
        "hybrid_engine/engine/performer.py",
        "seconds = min((moment(effect.at) - self._clock()).total_seconds(), most)",
        "seconds = (moment(effect.at) - self._clock()).total_seconds()",
        _DRIVER,
    ),
    Mutant(
        "steps get slots in the order of their names",
        "hybrid_engine/engine/driver.py",
        "run.plan.position[step], step))\n        run.newly_ready.clear()",
        "0, step))\n        run.newly_ready.clear()",
        _DRIVER,
    ),
    Mutant(
        "a postponed job is looked at when its time has passed, not when it has come",
        "hybrid_engine/engine/backlog.py",
        "self._due[0][0] <= now:",
        "self._due[0][0] < now:",
        _DRIVER,
    ),
    Mutant(
        "a step with continue_on_error stops those behind it",
        "hybrid_engine/rules/decisions.py",
        "        return not definition.continue_on_error\n",
        "        return True\n",
        _RULES,
    ),
    Mutant(
        "a step behind a skipped one runs, whatever was upstream",
        "hybrid_engine/rules/decisions.py",
        '    return step.status == "skipped" and (step.reason or "").startswith(UPSTREAM)',
        "    return False",
        _RULES,
    ),
    Mutant(
        "a template's priority is not looked at",
        "hybrid_engine/rules/acceptance.py",
        'else frozen.get("priority") or 0,',
        "else 0,",
        _ACCEPTANCE,
    ),
    Mutant(
        "a request's priority 0 gives way to the template's",
        "hybrid_engine/rules/acceptance.py",
        'priority if priority is not None else frozen.get("priority") or 0',
        'priority or frozen.get("priority") or 0',
        _ACCEPTANCE,
    ),
    Mutant(
        "a request's labels give way to the template's",
        "hybrid_engine/rules/acceptance.py",
        '{**(frozen.get("labels") or {}), **(request.get("labels") or {})}',
        '{**(request.get("labels") or {}), **(frozen.get("labels") or {})}',
        _ACCEPTANCE,
    ),
    Mutant(
        "a text that an expression makes has no bound",
        "hybrid_engine/rules/expression_functions.py",
        "        if len(value) > MAX_TEXT:",
        "        if False:",
        _EXPRESSIONS,
    ),
    Mutant(
        "a text with expressions in it has no bound",
        "hybrid_engine/rules/expressions.py",
        "        if len(result) > functions.MAX_TEXT:",
        "        if False:",
        _EXPRESSIONS,
    ),
    Mutant(
        "a sum has no bound",
        "hybrid_engine/rules/expressions.py",
        "        return bounded(result)",
        "        return result",
        _EXPRESSIONS,
    ),
    Mutant(
        "the nodes of an expression have no bound",
        "hybrid_engine/rules/expression_syntax.py",
        "        if count > MAX_NODES or depth > MAX_DEPTH:",
        "        if depth > MAX_DEPTH:",
        _EXPRESSIONS,
    ),
    Mutant(
        "join has no bound",
        "hybrid_engine/rules/expression_functions.py",
        '    if size > MAX_TEXT:\n        raise too_large(f"a text of {size} characters")\n    return str(separator)',
        "    return str(separator)",
        _EXPRESSIONS,
    ),
    Mutant(
        "true is 1 in expressions",
        "hybrid_engine/rules/expression_functions.py",
        "    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)",
        "    return bool(one == other)",
        _EXPRESSIONS,
    ),
    Mutant(
        "two enqueues with one key at once: the second does not look again",
        "hybrid_engine/files/submission.py",
        "        if mine:\n            if is_known(layout, job.id):\n                return False\n            accept",
        "        if mine:\n            accept",
        _REQUESTS,
    ),
    Mutant(
        "`wait` does not exit with 10 for a rejected job",
        "hybrid_engine/cli/follow.py",
        '    if worst & {"failed", "rejected"}:',
        '    if worst & {"failed"}:',
        _CLI,
    ),
    Mutant(
        "10 beats 12 when `wait` exits",
        "hybrid_engine/cli/follow.py",
        '    if "timeout" in worst:',
        '    if "timeout" in worst and "failed" not in worst:',
        _CLI,
    ),
    Mutant(
        "`enqueue --wait` exits with 0 whatever the end",
        "hybrid_engine/cli/jobs.py",
        "    return wait_for([job.id], timeout, as_json, quiet=True)",
        "    wait_for([job.id], timeout, as_json, quiet=True)\n    return 0",
        _CLI,
    ),
    Mutant(
        "`why` names the workflow itself as a holder",
        "hybrid_engine/engine/reasons.py",
        'for name in self._holders(pool) if name != record["id"]]',
        "for name in self._holders(pool)]",
        _QUERIES,
    ),
    Mutant(
        "`why` names all holders",
        "hybrid_engine/engine/reasons.py",
        "    return between.join(found[:NAMED]) + more",
        "    return between.join(found) + more",
        _QUERIES,
    ),
    Mutant(
        "the value of a label is not looked at, for rows that are not in the index",
        "hybrid_engine/engine/queries.py",
        'name in row["labels"] and (value is None or row["labels"][name] == value)',
        'name in row["labels"]',
        _QUERIES,
    ),
    Mutant(
        "the key is not looked at, for rows that are not in the index",
        "hybrid_engine/engine/queries.py",
        '            and (key is None or row["key"] == key)\n',
        "",
        _QUERIES,
    ),
    Mutant(
        "there is no last look before ending when idle",
        "hybrid_engine/daemon/supervisor.py",
        "            self._intake.look()  # the last look: what came in between is still done\n",
        "",
        ("tests/integration/test_supervisor.py",),
    ),
    Mutant(
        "an answer with another attempt's key counts",
        "hybrid_engine/execution/workers.py",
        ' or answer.get("key", self.attempt.key) != self.attempt.key:',
        ":",
        ("tests/integration/test_workers.py",),
    ),
    Mutant(
        "a value with a NUL character becomes an environment variable",
        "hybrid_engine/rules/attempts.py",
        '    if "\\0" in text:',
        "    if False:",
        ("tests/unit/test_turn.py", "tests/integration/test_driver.py", "tests/integration/test_shell.py"),
    ),
)
