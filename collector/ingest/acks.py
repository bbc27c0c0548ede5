"""The acks that tell units which results are stored and which are rejected. Pure."""

import datetime as dt
from collections.abc import Callable, Iterable
from uuid import UUID

from msgspec.structs import replace

from collector.ingest.validate import RefusedMessage, ResultId
from xomnet.contract.messages import Ack, Rejected, Stored
from xomnet.contract.values import to_text

ACK_SEQS = 200


def acks_of(
    stored: Iterable[ResultId],
    refused: Iterable[RefusedMessage],
    now: dt.datetime,
    permission_of: Callable[[str], str | None] = lambda _: None,
) -> list[Ack]:
    """One or more acks for each agent, of bounded size; the first one brings what `permission_of` gives an agent of
    which something was stored.
    """
    answers: dict[str, tuple[dict[UUID, list[ResultId]], list[Rejected]]] = {}
    for one in stored:
        answers.setdefault(one.agent, ({}, []))[0].setdefault(one.spool, []).append(one)
    for verdict in refused:
        if verdict.id is not None:
            reason = to_text(f"{verdict.code}: {verdict.reason}")
            rejected = Rejected(spool=verdict.id.spool, seq=verdict.id.seq, reason=reason)
            answers.setdefault(verdict.id.agent, ({}, []))[1].append(rejected)
    acks: list[Ack] = []
    for agent, (by_spool, rejections) in answers.items():
        first = len(acks)
        for ids in by_spool.values():
            for start in range(0, len(ids), ACK_SEQS):
                seqs = tuple(sorted(one.seq for one in ids[start : start + ACK_SEQS]))
                acks.append(Ack(agent=agent, time=now, stored=(Stored(spool=ids[0].spool, seqs=seqs),)))
        for start in range(0, len(rejections), 20):
            acks.append(Ack(agent=agent, time=now, rejected=tuple(rejections[start : start + 20])))
        if by_spool and (permission := permission_of(agent)) is not None:
            acks[first] = replace(acks[first], permission=permission)
    return acks
