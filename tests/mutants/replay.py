"""Mutants of what is made of the log: by a start, by `enqueue` without an engine, and by `prune`."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_REPLAY = ("tests/integration/test_replay.py", "tests/integration/test_log_order.py")
_ALONE = ("tests/integration/test_queue_folder.py", "tests/integration/test_log_order.py")
_PRUNE = ("tests/integration/test_prune.py", "tests/integration/test_log_order.py")

_REPLAYING = "hybrid_engine/files/log/replay.py"
_SINGLE = "hybrid_engine/files/log/single.py"
_PRUNING = "hybrid_engine/files/prune.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "no segment is written of what a start trusts",
        _REPLAYING,
        "    if payload:\n        trusted.append(",
        "    if False:\n        trusted.append(",
        _REPLAY,
    ),
    Mutant(
        "the segment of what a start trusts is not synced",
        _REPLAYING,
        "        segment.append(frames.header(report.next_number, segment.number, 0, 0, payload))",
        "        segment._write(frames.header(report.next_number, segment.number, 0, 0, payload))",
        _REPLAY,
    ),
    Mutant(
        "the name of the segment of what a start trusts is not synced",
        _REPLAYING,
        "0, 0, payload))\n        atomic.sync_folder(layout.log)\n",
        "0, 0, payload))\n",
        _REPLAY,
    ),
    Mutant(
        "the log goes before a start has synced what it held",
        _REPLAYING,
        "            systems.sync()\n        except OSError:",
        "            pass\n        except OSError:",
        _REPLAY,
    ),
    Mutant(
        "when the sync of a start fails nothing is written anew",
        _REPLAYING,
        "            rewrite_all(layout, trusted)",
        "            pass",
        _REPLAY,
    ),
    Mutant(
        "the folder of the log is not synced when a start has emptied it",
        _REPLAYING,
        "            atomic.unlink(path)\n        atomic.sync_folder(layout.log)\n",
        "            atomic.unlink(path)\n",
        _REPLAY,
    ),
    Mutant(
        "frames behind the valid end of a failed segment count",
        "hybrid_engine/files/log/segments.py",
        "            _drop_void(found, scanned.header)",
        "            pass",
        _REPLAY,
    ),
    Mutant(
        "what cannot be read of the log is not kept",
        _REPLAYING,
        "        report.evidence += [_keep(folder, number, data) for number, _, data in pieces if data]",
        "        pass",
        _REPLAY,
    ),
    Mutant(
        "the copy of what cannot be read of the log is not synced",
        _REPLAYING,
        "    atomic.write_new(path, data)\n    atomic.sync_folder(folder)\n    return path",
        "    atomic.write_new(path, data, durable=False)\n    return path",
        _REPLAY,
    ),
    Mutant(
        "what the log says of a removed workflow is made again",
        _REPLAYING,
        "                lines.pop(workflow, None)\n",
        "",
        _REPLAY,
    ),
    Mutant(
        "a workflow whose id was removed before does not come back",
        _REPLAYING,
        "                lines.setdefault(workflow, []).append(line)\n",
        "                if workflow not in removed:\n"
        "                    lines.setdefault(workflow, []).append(line)\n",
        _REPLAY,
    ),
    Mutant(
        "a removed workflow keeps its name in the queue",
        _REPLAYING,
        "    _forget_names(layout, removed)\n",
        "",
        _REPLAY,
    ),
    Mutant(
        "a finished workflow keeps its name in the queue",
        _REPLAYING,
        "    if state is not None and state.is_final:\n        atomic.unlink(layout.queued(name))",
        "    if state is not None and state.is_final:\n        pass",
        _REPLAY,
    ),
    Mutant(
        "a start does not give a workflow its name in the queue",
        _REPLAYING,
        "    else:\n        link_queued(layout, folder, name)",
        "    else:\n        pass",
        _REPLAY,
    ),
    Mutant(
        "bad bytes behind the last line of a journal stay",
        _REPLAYING,
        "        os.ftruncate(fd, end)",
        "        pass",
        _REPLAY,
    ),
    Mutant(
        "a journal is begun although the log begins later",
        _REPLAYING,
        "    if len(reading.entries) < first - 1:",
        "    if False:",
        _REPLAY,
    ),
    Mutant(
        "a gap in the log is not seen",
        _REPLAYING,
        "    if numbers != list(range(first, first + len(numbers))):",
        "    if False:",
        _REPLAY,
    ),
    Mutant(
        "the name of the segment of one job is not synced",
        _SINGLE,
        "(job.id.encode(), line)))\n        atomic.sync_folder(layout.log)\n",
        "(job.id.encode(), line)))\n",
        _ALONE,
    ),
    Mutant(
        "a job that only the log knows is accepted again",
        _SINGLE,
        "    if _names(found, job.id):",
        "    if False:",
        _ALONE,
    ),
    Mutant(
        "the segment of one job makes those before it void",
        _SINGLE,
        "        segment.begin(found.next, found.last, found.end)",
        "        segment.begin(found.next, 0, 0)",
        _ALONE,
    ),
    Mutant(
        "a segment of one job that failed stays",
        _SINGLE,
        "        _take_back(layout, segment, error)\n",
        "",
        _ALONE,
    ),
    Mutant(
        "the log is not emptied before workflows are pruned",
        _PRUNING,
        "            _settle_log(self._layout, report.problem)\n",
        "",
        _PRUNE,
    ),
    Mutant(
        "what the log names is pruned",
        _PRUNING,
        "        batch = [workflow for workflow in batch if workflow not in self._in_log.all]\n",
        "",
        _PRUNE,
    ),
    Mutant(
        "nobody looks into the log whether a thrown workflow was to go on",
        _PRUNING,
        "            if new.get(workflow, 1) > 1 and trash.put_back(",
        "            if False and trash.put_back(",
        _PRUNE,
    ),
)
