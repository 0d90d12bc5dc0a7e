"""Results made by hand, for tests of what is done with a result: a real one is named in the error vocabulary."""

from datetime import timedelta

from chips.providers.base import Code, ErrorKind, Fault, SendResult, Verdict

SESSION_COOLDOWN = timedelta(seconds=60)
RATE_LIMIT_COOLDOWN = timedelta(minutes=5)
RESTRICTION_COOLDOWN = timedelta(minutes=30)


def not_sent(
    kind: ErrorKind,
    fault: Fault,
    code: Code,
    detail: str,
    *,
    retryable: bool = True,
    status: int | None = None,
    cooldown: timedelta | None = None,
) -> SendResult:
    return SendResult(
        Verdict.NAO_ENVIADA,
        code,
        kind=kind,
        fault=fault,
        retryable=retryable,
        http_status=status,
        detail=detail,
        cooldown=cooldown,
    )


def unknown(
    kind: ErrorKind,
    fault: Fault,
    code: Code,
    detail: str,
    *,
    status: int | None = None,
    cooldown: timedelta | None = None,
) -> SendResult:
    return SendResult(
        Verdict.DESCONHECIDA,
        code,
        kind=kind,
        fault=fault,
        http_status=status,
        detail=detail,
        cooldown=cooldown,
    )
