"""A shard of failures as one Parquet file that also holds the shard's counts; equal input gives equal bytes."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass as record
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from defuse.errors import RunError
from defuse.records import Failures, ProposalCount
from defuse.rundir import write_atomically

_COUNTS = b"defuse"


@record(frozen=True)
class Shard:
    """What the search of one shard found; the search as a whole can be told from its shards alone.

    Attributes:
        failures: that passed every gate.
        count: of its candidates.
        gates: (tested, passed) of each gate on candidates by name, in the order of testing.
        seeds: reference images tried as seeds, and those that were used; the same in every shard.
    """

    failures: Failures
    count: ProposalCount
    gates: dict[str, tuple[int, int]]
    seeds: tuple[int, int]


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard atomically."""
    found = shard.failures
    width = found.z.shape[1]
    columns = {
        "seed": pa.array(found.seed),
        "label": pa.array(found.label),
        "predicted": pa.array(found.predicted),
        "proposal": pa.array(list(found.proposal), pa.string()),
        "z": pa.FixedSizeListArray.from_arrays(pa.array(found.z.ravel()), width),
        **{f"score_{name}": pa.array(score) for name, score in found.scores.items()},
    }
    note = json.dumps({"count": asdict(shard.count), "gates": shard.gates, "seeds": shard.seeds, "latent": width})
    table = pa.table(columns).replace_schema_metadata({_COUNTS: note.encode()})
    write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def read_shard(path: Path) -> Shard:
    """Read a shard.

    Raises:
        RunError: the file is damaged or was not written by this package.
    """
    try:
        table = pq.read_table(path)
        note = json.loads(table.schema.metadata[_COUNTS])
        failures = Failures(
            seed=_column(table, "seed"),
            label=_column(table, "label"),
            predicted=_column(table, "predicted"),
            proposal=tuple(table["proposal"].to_pylist()),
            z=_codes(table["z"], int(note["latent"])),
            scores={
                name.removeprefix("score_"): _column(table, name)
                for name in table.column_names
                if name.startswith("score_")
            },
        )
        gates = {name: (int(tested), int(passed)) for name, (tested, passed) in note["gates"].items()}
        tried, used = note["seeds"]
        return Shard(failures, ProposalCount(**note["count"]), gates, (int(tried), int(used)))
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())  # Arrow's messages may span lines
        raise RunError(f"{path}: damaged shard ({reason}); remove it and run again to search it anew") from None


def join(parts: Sequence[Failures]) -> Failures:
    """Return all failures in one table, in order."""
    first = parts[0]
    return Failures(
        seed=np.concatenate([part.seed for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts]),
        proposal=tuple(name for part in parts for name in part.proposal),
        z=np.concatenate([part.z for part in parts]),
        scores={name: np.concatenate([part.scores[name] for part in parts]) for name in first.scores},
    )


def counts(shards: Sequence[Shard]) -> tuple[ProposalCount, ...]:
    """Return the candidates of all shards, summed up by proposal."""
    names = dict.fromkeys(shard.count.proposal for shard in shards)
    totals = []
    for name in names:
        of = [shard.count for shard in shards if shard.count.proposal == name]
        totals.append(
            ProposalCount(name, sum(c.candidates for c in of), sum(c.flips for c in of), sum(c.kept for c in of))
        )
    return tuple(totals)


def gate_counts(shards: Sequence[Shard]) -> tuple[tuple[str, int, int], ...]:
    """Return how many candidates of all shards each gate tested and passed, (name, tested, passed) in order."""
    return tuple(
        (name, sum(shard.gates[name][0] for shard in shards), sum(shard.gates[name][1] for shard in shards))
        for name in shards[0].gates
    )


def _column(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy())


def _codes(column: pa.ChunkedArray, width: int) -> np.ndarray:
    flat = column.combine_chunks().flatten().to_numpy()
    return np.asarray(flat, dtype=np.float32).reshape(-1, width)
