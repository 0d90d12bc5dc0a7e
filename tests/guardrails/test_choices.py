import pytest

from guardrails.choices import BYPASSABLE, SENTENCES, Kind, PermissionState, ReasonCode


def test_every_reason_has_a_sentence_and_no_sentence_lacks_its_reason():
    assert set(SENTENCES) == set(ReasonCode)


@pytest.mark.parametrize("reason", ReasonCode)
def test_a_sentence_is_complete_and_its_own(reason):
    sentence = SENTENCES[reason]
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert list(SENTENCES.values()).count(sentence) == 1


@pytest.mark.parametrize("reason", ReasonCode)
def test_a_reason_fits_its_column_and_has_a_label(reason):
    assert len(reason.value) <= 64
    assert reason.label


def test_what_protects_the_operation_or_a_third_person_is_never_overridden():
    never = {
        ReasonCode.DEV_ALLOWLIST,
        ReasonCode.DEV_ALLOWLIST_EMPTY,
        ReasonCode.WRONG_NUMBER,
        ReasonCode.DECEASED,
        ReasonCode.HANDOFF_ATIVO,
        ReasonCode.ENVIRONMENT_LOCKED,
        ReasonCode.OPERATION_PAUSED,
        ReasonCode.WORKER_DISABLED,
        ReasonCode.CAMPAIGNS_DISABLED,
        ReasonCode.SAFE_MODE,
        ReasonCode.KIND_DISABLED,
        ReasonCode.SWITCH_UNREADABLE,
        ReasonCode.STATE_UNAVAILABLE,
        ReasonCode.INBOUND_PENDENTE,
    }
    assert not never & BYPASSABLE


def test_kinds_and_states_keep_the_spelling_of_their_columns():
    assert {"campanha", "followup", "reativacao", "resposta", "manual", "teste", "confirmacao_opt_out"} <= set(
        Kind.values
    )
    assert PermissionState.values == ["none", "initial", "active", "cooling_off", "opted_out"]
